"""Stage `split`: the folds that every model shares, and the duplicates that were merged for them."""

from skinlesions import duplicates, files, params, paths, splits
from skinlesions.dataset import schema
from skinlesions.errors import run_main


def main() -> None:
    """Write data/split/duplicates.csv and data/split/folds.csv."""
    settings = params.load().split
    search, index = settings.duplicates, schema.read_index()
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
