"""Stage `prepare`: the raw images as one array, and the index of its rows."""

from skinlesions import files, images, params, paths
from skinlesions.dataset import schema
from skinlesions.errors import run_main


def main() -> None:
    """Write data/prepared/ from data/raw/."""
    settings = params.load().prepare
    index = schema.read_index(paths.RAW_METADATA)[list(schema.INDEX_COLUMNS)]
    sources = [paths.RAW_IMAGES / f"{image_id}.jpg" for image_id in index["image_id"]]
    images.prepare(sources, paths.PREPARED_IMAGES, settings.size, settings.fit)
    files.write_csv(paths.PREPARED_INDEX, index)
    files.write_json(paths.PREPARED_SETTINGS, settings.model_dump())


if __name__ == "__main__":
    run_main(main)
