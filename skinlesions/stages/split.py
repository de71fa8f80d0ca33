"""Stage `split`: the folds that every model shares."""

from skinlesions import files, params, paths, splits
from skinlesions.dataset import schema
from skinlesions.errors import run_main


def main() -> None:
    """Write data/split/folds.csv."""
    settings = params.load().split
    files.write_csv(paths.FOLDS, splits.make_folds(schema.read_index(), settings.folds, settings.seed))


if __name__ == "__main__":
    run_main(main)
