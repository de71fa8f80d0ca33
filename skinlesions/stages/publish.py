"""Stage `publish`: the model that params.yaml names as others can use it, in models/published."""

from skinlesions.core import config, paths
from skinlesions.core.errors import run_main
from skinlesions.inference import publishing


def main() -> None:
    """Write models/published."""
    name = config.of_stage("publish").publish.model
    publishing.publish(name, paths.PUBLISHED_MODEL)
    print(f"publish: {name or 'no model'} in {paths.relative(paths.PUBLISHED_MODEL)}", flush=True)


if __name__ == "__main__":
    run_main(main)
