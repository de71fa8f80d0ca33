"""Writing data/raw: the images as they came, the metadata, the manifest and where it all is from."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from skinlesions.core import files
from skinlesions.core.parallel import in_order
from skinlesions.core.progress import Progress
from skinlesions.data.sources.checks import check_image, raise_faults

MANIFEST_COLUMNS = ("image_id", "sha256", "bytes", "width", "height")


def write_raw(
    target: Path,
    partial: Path,
    metadata: pd.DataFrame,
    images: Iterable[tuple[str, str, bytes]],
    source: dict[str, Any],
    label: str = "data",
) -> None:
    """Write `target` (data/raw), whole or not at all.

    Every image is decoded wholly before its bytes are written unchanged. Reading, decoding and writing overlap, and
    only a few images per processor are in memory at any time, however many there are.

    Args:
        target: replaced if it exists.
        partial: where the work in progress is, on the same file system as `target`; emptied first.
        metadata: as dataset.checks.check_metadata returns it.
        images: (image id, name for messages, bytes of the JPEG file) of every row of `metadata`, in any order.
        source: what source.json says beside the number of images and lesions.
        label: what the progress line calls it.

    Raises:
        UserError: images do not decode or are too small; all of them are looked at first.
    """
    shutil.rmtree(partial, ignore_errors=True)
    folder = partial / "images"
    folder.mkdir(parents=True)
    rows: list[tuple[str, str, int, int, int]] = []
    faults: list[str] = []

    def check_and_write(image: tuple[str, str, bytes]) -> tuple[str, str, int, int, int] | str:
        """The row of the manifest, or what is wrong with the image."""
        image_id, name, content = image
        try:
            width, height = check_image(content)
        except ValueError as error:
            return f"{name} {error}; replace it with the published file"
        (folder / f"{image_id}.jpg").write_bytes(content)
        return image_id, files.sha256(content), len(content), width, height

    with Progress(label, len(metadata)) as progress:
        for result in in_order(check_and_write, images):
            if isinstance(result, str):
                faults.append(result)
            else:
                rows.append(result)
            progress.advance()
    raise_faults("images", faults)

    manifest = pd.DataFrame(sorted(rows), columns=list(MANIFEST_COLUMNS))
    if not manifest["image_id"].equals(metadata["image_id"].astype(manifest["image_id"].dtype)):
        raise ValueError("images and metadata differ: check_names must come before write_raw")
    files.write_csv(partial / "metadata.csv", metadata)
    files.write_csv(partial / "manifest.csv", manifest)
    counts = {"images": len(metadata), "lesions": int(metadata["lesion_id"].nunique())}
    files.write_json(partial / "source.json", source | counts)

    # A kill between the two lines leaves no data/raw, never half of one.
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
