"""HAM10000 in a local folder, in each layout in which people have it.

- Harvard Dataverse: HAM10000_images_part_1.zip, HAM10000_images_part_2.zip and the metadata;
- Kaggle: the folders HAM10000_images_part_1/ and HAM10000_images_part_2/ and the metadata;
- flat: all images in one folder, with the metadata in it or beside it.

The metadata are HAM10000_metadata.csv, HAM10000_metadata.tab or HAM10000_metadata. Case does not matter, folders may be
nested, and all other files are ignored.
"""

import csv
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from skinlesions.core import paths
from skinlesions.core.errors import UserError
from skinlesions.data.sources import archives
from skinlesions.data.sources.archives import MAXIMUM_IMAGE_BYTES, ImageFile
from skinlesions.data.sources.checks import IDENTIFIER, check_columns, check_metadata, listing, raise_faults

METADATA_NAME = re.compile(r"ham10000_metadata(\.csv|\.tab)?", re.IGNORECASE)
PART_NAME = re.compile(r"ham10000_images_part_([12])(\.zip)?", re.IGNORECASE)
IMAGE_NAME = re.compile(r"[^.].*\.jpe?g", re.IGNORECASE)

# Where the files are, unless data.folder says so.
FOLDER_VARIABLE = "HAM10000_DIR"

# How deep below the given folder the files may lie.
SEARCH_DEPTH = 3

LAYOUTS = (
    "It must hold HAM10000_metadata.csv (or .tab) and either HAM10000_images_part_1.zip and _part_2.zip, "
    "or the folders HAM10000_images_part_1/ and _part_2/, or all images in one folder."
)


@dataclass(frozen=True)
class Layout:
    """The files of HAM10000 in a folder: the metadata, and zip files or folders that hold the images."""

    metadata: Path
    archives: tuple[Path, ...]
    folders: tuple[Path, ...]


def given_folder(folder: str | None) -> Path | None:
    """The folder with the files of HAM10000: `folder` (data.folder), else FOLDER_VARIABLE; None if neither is set."""
    folder = folder or os.environ.get(FOLDER_VARIABLE)
    return paths.ROOT / Path(folder).expanduser() if folder else None


def find(folder: Path) -> Layout:
    """Which layout `folder` has.

    Where several are there (a zip file and what was unpacked from it), zip files are preferred to folders, since they
    carry checksums, and folders with part names are preferred to a flat one.

    Raises:
        UserError: the folder is absent, or lacks the metadata or a part of the images.
    """
    shown = paths.relative(folder)
    if not folder.is_dir():
        raise UserError(f"{shown} is not a folder; set data.folder or HAM10000_DIR to the folder with HAM10000's files")

    metadata: list[Path] = []
    archives: dict[str, Path] = {}
    part_folders: dict[str, list[Path]] = {"1": [], "2": []}
    for directory, names in _walk(folder):
        # Kaggle's archive may unpack to a part folder within a part folder, so the parent's name counts too.
        for step in reversed(directory.relative_to(folder).parts[-2:]):
            part = PART_NAME.fullmatch(step)
            if part and not part[2] and any(IMAGE_NAME.fullmatch(name) for name in names):
                part_folders[part[1]].append(directory)
                break
        metadata += [directory / name for name in names if METADATA_NAME.fullmatch(name)]
        for name in names:
            part = PART_NAME.fullmatch(name)
            if part and part[2]:
                archives.setdefault(part[1], directory / name)

    if not metadata:
        found = listing(sorted(entry.name for entry in folder.iterdir())) or "nothing"
        raise UserError(f"{shown}: no HAM10000 metadata. {LAYOUTS} Found: {found}.")
    # The shallowest comes first, and of several spellings in one folder the first by name: .csv before .tab.
    table = min(metadata, key=lambda path: (len(path.parts), not path.suffix, path.name.lower()))

    # Kaggle has every part twice, under two spellings: one of them, the fuller, is enough.
    chosen = {
        part: max(sorted(candidates), key=lambda path: sum(1 for _ in _image_names(path)))
        for part, candidates in part_folders.items()
        if candidates and part not in archives
    }
    if archives or chosen:
        missing = sorted({"1", "2"} - set(archives) - set(chosen))
        if missing:
            raise UserError(f"{shown}: part {missing[0]} of the images is missing. {LAYOUTS}")
        return Layout(table, tuple(path for _, path in sorted(archives.items())), tuple(chosen.values()))

    for candidate in (table.parent, folder, table.parent / "images", folder / "images"):
        if candidate.is_dir() and any(_image_names(candidate)):
            return Layout(table, (), (candidate,))
    raise UserError(f"{shown}: no images beside {table.name}. {LAYOUTS}")


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """(directory, names of its files) down to SEARCH_DEPTH, in a fixed order; hidden folders are left out."""
    for directory, subdirectories, names in os.walk(folder, followlinks=True):
        depth = len(Path(directory).relative_to(folder).parts)
        subdirectories[:] = sorted(
            name for name in subdirectories if not name.startswith((".", "__")) and depth < SEARCH_DEPTH
        )
        yield Path(directory), sorted(names)


def image_folders(folder: Path) -> tuple[Path, ...]:
    """Every directory in `folder`, itself included, that has images, down to SEARCH_DEPTH."""
    return tuple(directory for directory, names in _walk(folder) if any(IMAGE_NAME.fullmatch(name) for name in names))


def _image_names(directory: Path) -> Iterator[str]:
    return (name for name in sorted(os.listdir(directory)) if IMAGE_NAME.fullmatch(name))


def read_metadata(path: Path) -> pd.DataFrame:
    """The checked, normalised metadata in `path`: separated by commas or tabs, quoted or not.

    Raises:
        UserError: the file is not such a table, or a row has a fault.
    """
    file = paths.relative(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 text (byte {error.start:,}); take the metadata file as published") from None
    separator = "\t" if "\t" in text.partition("\n")[0] else ","
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if row]
    except csv.Error as error:
        raise UserError(f"{file}: not a table ({error}); take the metadata file as published") from None
    if not rows:
        raise UserError(f"{file}: empty; take the metadata file as published")
    header = [name.strip() for name in rows[0]]
    check_columns(header, file)
    raise_faults(
        file,
        [
            f"row {number}: {len(row)} values instead of {len(header)}; restore the row as published"
            for number, row in enumerate(rows[1:], start=2)
            if len(row) != len(header)
        ],
    )
    table = pd.DataFrame([[value.strip() for value in row] for row in rows[1:]], columns=header, dtype=str)
    return check_metadata(table, file)


def list_images(layout: Layout) -> dict[str, ImageFile]:
    """Every image of the layout by its id, in the order in which reading them is fast. Nothing is unpacked.

    Raises:
        UserError: a zip file is damaged or has unsafe members, or an image is there twice.
    """
    images: dict[str, ImageFile] = {}
    faults: list[str] = []

    def add(image: ImageFile) -> None:
        if not IDENTIFIER.fullmatch(image.image_id):
            faults.append(f"{image.name}: not the name of an image; rename it or move it elsewhere")
        elif image.image_id in images:
            faults.append(f"{image.name}: image {image.image_id!r} is also {images[image.image_id].name}; remove one")
        else:
            images[image.image_id] = image

    for path in layout.archives:
        for member in _members(path):
            add(ImageFile(Path(member).stem, path, member))
    for folder in layout.folders:
        for name in _image_names(folder):
            add(ImageFile(Path(name).stem, folder / name, None))
            if (folder / name).stat().st_size > MAXIMUM_IMAGE_BYTES:
                faults.append(f"{paths.relative(folder / name)}: more than {MAXIMUM_IMAGE_BYTES:,} bytes; replace it")
    raise_faults("images", faults)
    return images


def _members(path: Path) -> list[str]:
    """The name of every image in the zip file, after a look at all its names and sizes."""
    names, faults = archives.members(
        path,
        lambda name: not name.startswith("__MACOSX/") and IMAGE_NAME.fullmatch(name.rpartition("/")[2]) is not None,
    )
    raise_faults(paths.relative(path), [f"{fault}; download the file again from its publisher" for fault in faults])
    return names


def read_images(images: dict[str, ImageFile]) -> Iterator[tuple[ImageFile, bytes]]:
    """Every image with its bytes, one at a time, in the order of `images`.

    Raises:
        UserError: a file or member cannot be read.
    """
    for image, content in archives.contents(images.values()):
        if isinstance(content, ValueError):
            raise UserError(f"{image.name}: {content}; download it again")
        yield image, content
