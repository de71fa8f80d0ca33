"""Stage `report`: the published report, from what the stages before it left in data/."""

from skinlesions.core import config, environment, paths
from skinlesions.core.errors import run_main
from skinlesions.report.publication import publish


def main() -> None:
    """Write reports/."""
    environment.check(config.packages("report"))
    publish(paths.DATA, paths.REPORTS, config.load())
    print(f"report: open {paths.relative(paths.REPORTS / 'index.html')}", flush=True)


if __name__ == "__main__":
    run_main(main)
