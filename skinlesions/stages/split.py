"""Stage `split`: the folds that every model shares, and the duplicates that were merged for them."""

from skinlesions.core import classes, config, files, paths
from skinlesions.core.errors import run_main
from skinlesions.data import duplicates, splits


def main() -> None:
    """Write data/split/duplicates.csv and data/split/folds.csv."""
    settings = config.of_stage("split").split
    search, index = settings.duplicates, classes.read_index()
    pairs = duplicates.find(
        index,
        files.read_array(paths.FEATURES / f"{search.backbone}.npy"),
        paths.PREPARED_IMAGES,
        neighbours=search.neighbours,
        min_similarity=search.min_similarity,
        min_inliers=search.min_inliers,
        min_correlation=search.min_correlation,
    )
    folds = splits.make_folds(index, settings.folds, settings.seed, pairs)
    files.write_csv(paths.DUPLICATES, pairs)
    files.write_csv(paths.FOLDS, folds)


if __name__ == "__main__":
    run_main(main)
