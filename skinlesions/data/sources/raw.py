"""Writing data/raw: the images as they came, the metadata, the manifest and where it all is from."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from skinlesions.core import files
from skinlesions.core.parallel import in_order
from skinlesions.core.progress import Progress
from skinlesions.data.sources.checks import check_image, format_of, raise_faults

MANIFEST_COLUMNS = ("image_id", "sha256", "bytes", "width", "height")


def write_raw(
    target: Path,
    partial: Path,
    metadata: pd.DataFrame,
    images: Iterable[tuple[str, str, bytes]],
    source: dict[str, Any],
    label: str = "data",
    out_of_scope: pd.DataFrame | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> None:
    """Write `target` (data/raw), whole or not at all.

    Every image is decoded wholly before its bytes are written unchanged. Reading, decoding and writing overlap, and
    only a few images per processor are in memory at any time, however many there are.

    Args:
        target: replaced if it exists.
        partial: where the work in progress is, on the same file system as `target`; emptied first.
        metadata: as checks.check_metadata returns it.
        images: (image id, name for messages, bytes of the JPEG or PNG file) of every row of `metadata` and
            `out_of_scope`, in any order.
        source: what source.json says beside the number of images and lesions.
        label: what the progress line calls it.
        out_of_scope: images with a diagnosis that is none of the seven: written to out_of_scope.csv, if there are any.
        tables: what else is written beside the metadata, by name of the file.

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
        suffix = "png" if format_of(content) == "PNG" else "jpg"
        (folder / f"{image_id}.{suffix}").write_bytes(content)
        return image_id, files.sha256(content), len(content), width, height

    further = None if out_of_scope is None or out_of_scope.empty else out_of_scope
    image_ids = sorted([*metadata["image_id"], *([] if further is None else further["image_id"])])
    with Progress(label, len(image_ids)) as progress:
        for result in in_order(check_and_write, images):
            if isinstance(result, str):
                faults.append(result)
            else:
                rows.append(result)
            progress.advance()
    raise_faults("images", faults)

    manifest = pd.DataFrame(sorted(rows), columns=list(MANIFEST_COLUMNS))
    if manifest["image_id"].tolist() != image_ids:
        raise ValueError("images and metadata differ: check_names must come before write_raw")
    files.write_csv(partial / "metadata.csv", metadata)
    files.write_csv(partial / "manifest.csv", manifest)
    if further is not None:
        files.write_csv(partial / "out_of_scope.csv", further)
    for name, table in (tables or {}).items():
        files.write_csv(partial / name, table)
    counts = {"images": len(metadata), "lesions": int(metadata["lesion_id"].nunique())}
    files.write_json(partial / "source.json", source | counts)

    # A kill between the two lines leaves no data/raw, never half of one.
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
