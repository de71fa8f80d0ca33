"""Stage `data`: raw images and metadata, from a local folder, from Harvard Dataverse or synthetic, into data/raw."""

import os
import sys
from pathlib import Path

from skinlesions import files, params, paths
from skinlesions.dataset import ham10000
from skinlesions.dataset.checks import check_names
from skinlesions.dataset.raw import write_raw
from skinlesions.errors import UserError, run_main

FOLDER_VARIABLE = "HAM10000_DIR"


def from_folder(folder: Path, origin: str) -> None:
    """Check HAM10000 in `folder` and write it to data/raw; names and metadata first, since that is quick."""
    layout = ham10000.find(folder)
    metadata = ham10000.read_metadata(layout.metadata)
    images = ham10000.list_images(layout)
    check_names(
        {image_id: image.name for image_id, image in images.items()}, metadata, paths.relative(layout.metadata)
    )
    source = {
        "source": "ham10000",
        "origin": origin,
        "files": [
            {"name": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path)}
            for path in (*layout.archives, layout.metadata)
        ],
        "note": "",
    }
    contents = ((image.image_id, image.name, content) for image, content in ham10000.read_images(images))
    write_raw(paths.RAW, paths.PARTIAL / "raw", metadata, contents, source)


def main() -> None:
    """Write data/raw as params.yaml says."""
    parameters = params.load().data
    folder = parameters.folder or os.environ.get(FOLDER_VARIABLE)
    if parameters.source == "sample":
        raise UserError("the sample is not there yet")
    if not folder:
        raise UserError("set HAM10000_DIR")
    from_folder(paths.ROOT / Path(folder).expanduser(), "a local folder")
    print(f"data: {paths.relative(paths.RAW)} is written", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_main(main)
