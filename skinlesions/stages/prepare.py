"""Stage `prepare`: the raw images as one array, and the index of its rows."""

from skinlesions.core import classes, config, files, paths
from skinlesions.core.errors import run_main
from skinlesions.data import images


def main() -> None:
    """Write data/prepared/ from data/raw/."""
    settings = config.of_stage("prepare").prepare
    index = classes.read_index(paths.RAW_METADATA)[list(classes.INDEX_COLUMNS)]
    sources = [files.image_file(paths.RAW_IMAGES, image_id) for image_id in index["image_id"]]
    images.prepare(sources, paths.PREPARED_IMAGES, settings.size, settings.fit)
    files.write_csv(paths.PREPARED_INDEX, index)
    # By themselves: another diagnosis or age in the index is no reason to order an embedding again.
    files.write_csv(paths.PREPARED_IDS, index[["image_id"]])
    files.write_json(paths.PREPARED_SETTINGS, settings.model_dump())


if __name__ == "__main__":
    run_main(main)
