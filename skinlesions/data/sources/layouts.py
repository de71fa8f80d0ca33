"""Which files in a folder are HAM10000: a table is known by its columns, an image by the row that names it.

The layouts in which people have it are in LAYOUTS. Folders may be nested, and whatever else lies there is passed over.
"""

import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skinlesions.core import paths
from skinlesions.core.errors import UserError
from skinlesions.data.sources import archives, isic_archive, text_tables
from skinlesions.data.sources.checks import listing

METADATA_NAME = re.compile(r"ham10000_metadata(\.csv|\.tab)?", re.IGNORECASE)
PART_NAME = re.compile(r"ham10000_images_part_([12])(\.zip)?", re.IGNORECASE)
IMAGE_NAME = re.compile(r"[^.].*\.(jpe?g|png)", re.IGNORECASE)

# How deep below the given folder the files may lie.
SEARCH_DEPTH = 3

# The columns of the truth of Task 3 of the ISIC 2018 challenge beside `image`, in lower case.
CHALLENGE_CLASSES = ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")

# What each kind of table is, the one that says most first, and the column that names the images.
METADATA, ARCHIVE, CHALLENGE, PARQUET = "metadata", "isic archive", "isic 2018", "parquet"
IMAGE_COLUMNS = {METADATA: "image_id", ARCHIVE: "isic_id", CHALLENGE: "image"}

GROUPINGS_FILE = "ISIC2018_Task3_Training_LesionGroupings.csv"
CHALLENGE_PAGE = "https://challenge.isic-archive.com/data/#2018"

LAYOUTS = (
    "It must hold the images (HAM10000_images_part_1.zip and _part_2.zip, other zip files, or folders) and "
    "HAM10000_metadata.csv (or .tab), or metadata.csv of isic-cli, or ISIC2018_Task3_Training_GroundTruth.csv and "
    f"{GROUPINGS_FILE}; or parquet files with both."
)
NO_PIXEL_TABLES = (
    "holds scaled-down images without their identifiers: nothing tells which of them show one lesion, so no split of "
    "them is free of leakage. Get the images themselves, from https://doi.org/10.7910/DVN/DBW86T or Kaggle"
)


@dataclass(frozen=True)
class Layout:
    """The files of HAM10000 in a folder.

    Attributes:
        kind: METADATA, ARCHIVE, CHALLENGE or PARQUET.
        metadata: the table; the first of several parquet files.
        archives: zip files with images.
        folders: folders with images.
        further: the rest of the table: the lesion groupings of the challenge, the other parquet files.
        rivals: other tables that claim to be the same.
        strict: whether `archives` and `folders` are the two published parts, which hold HAM10000 and nothing else.
        notes: what was passed over, as sentences.
    """

    metadata: Path
    archives: tuple[Path, ...]
    folders: tuple[Path, ...]
    kind: str = METADATA
    further: tuple[Path, ...] = ()
    rivals: tuple[Path, ...] = ()
    strict: bool = True
    notes: tuple[str, ...] = ()


def find(folder: Path) -> Layout:
    """Which layout `folder` has.

    Where several are there (a zip file and what was unpacked from it), zip files are preferred to folders, since they
    carry checksums, and the two published parts to all others.

    Raises:
        UserError: the folder is absent, or lacks the metadata or a part of the images.
    """
    shown = paths.relative(folder)
    if not folder.is_dir():
        raise UserError(f"{shown} is not a folder; set data.folder or HAM10000_DIR to the folder with HAM10000's files")
    files = list(walk(folder))
    kind, tables = _tables(files, folder)
    if kind == PARQUET:
        return Layout(tables[0], (), (), kind, further=tuple(tables[1:]))
    table, rivals = tables[0], tuple(tables[1:])
    further = (_groupings(files, table),) if kind == CHALLENGE else ()

    zips, part_folders = _parts(files, folder)
    if zips or part_folders:
        missing = sorted({"1", "2"} - set(zips) - set(part_folders))
        if missing:
            raise UserError(f"{shown}: part {missing[0]} of the images is missing. {LAYOUTS}")
        parts = tuple(path for _, path in sorted(zips.items())), tuple(part_folders.values())
        return Layout(table, *parts, kind, further, rivals)

    found, notes = _zip_files(files)
    folders = sorted(
        (directory for directory, names in files if any(map(IMAGE_NAME.fullmatch, names))),
        key=lambda directory: (len(directory.parts), directory.as_posix()),
    )
    if not found and not folders:
        raise UserError(" ".join([f"{shown}: no images beside {table.name}.", *notes, LAYOUTS]))
    return Layout(table, found, tuple(folders), kind, further, rivals, strict=False, notes=notes)


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """(directory, names of its files) down to SEARCH_DEPTH, in a fixed order; hidden folders are left out."""
    for directory, subdirectories, names in os.walk(folder, followlinks=True):
        depth = len(Path(directory).relative_to(folder).parts)
        subdirectories[:] = sorted(
            name for name in subdirectories if not name.startswith((".", "__")) and depth < SEARCH_DEPTH
        )
        yield Path(directory), sorted(names)


def image_folders(folder: Path) -> tuple[Path, ...]:
    """Every directory in `folder`, itself included, that has images, down to SEARCH_DEPTH."""
    return tuple(directory for directory, names in walk(folder) if any(IMAGE_NAME.fullmatch(name) for name in names))


def image_names(directory: Path) -> Iterator[str]:
    """The names of the images in `directory`, sorted."""
    return (name for name in sorted(os.listdir(directory)) if IMAGE_NAME.fullmatch(name))


def image_members(path: Path) -> tuple[list[str], list[str]]:
    """The names of the images in the zip file `path`, and what is wrong with it or with its members."""
    return archives.members(
        path,
        lambda name: not name.startswith("__MACOSX/") and IMAGE_NAME.fullmatch(name.rpartition("/")[2]) is not None,
    )


def _tables(files: list[tuple[Path, list[str]]], folder: Path) -> tuple[str, list[Path]]:
    """The best kind of table that there is, and the tables of that kind, first the one to take."""
    named: list[Path] = []
    known: dict[str, list[Path]] = {METADATA: [], ARCHIVE: [], CHALLENGE: [], PARQUET: []}
    useless: list[str] = []
    for directory, names in files:
        for name in names:
            path = directory / name
            suffix = path.suffix.lower()
            if METADATA_NAME.fullmatch(name):
                named.append(path)
            elif suffix == ".parquet":
                known[PARQUET].append(path)
            elif suffix == ".npz" and _is_dermamnist(path):
                useless.append(f"{paths.relative(path)} {NO_PIXEL_TABLES}")
            elif suffix in text_tables.SUFFIXES:
                columns = text_tables.columns(path)
                kind = _kind(columns)
                if kind and _names_ham10000(path, IMAGE_COLUMNS[kind]):
                    known[kind].append(path)
                elif "pixel0000" in columns:
                    useless.append(f"{paths.relative(path)} {NO_PIXEL_TABLES}")
    if named:
        known[METADATA] = named  # whatever other tables, a copy with further columns, say they are
    for kind, tables in known.items():
        if tables:
            # The shallowest comes first, and of several spellings in one folder the first by name: .csv before .tab.
            return kind, sorted(tables, key=lambda path: (len(path.parts), not path.suffix, path.name.lower()))
    if useless:
        raise UserError(f"{useless[0]}.")
    packed = [directory / name for directory, names in files for name in names if _has_tables(directory / name)]
    if packed:
        raise UserError(f"{paths.relative(packed[0])} holds the metadata: unpack it where it is. {LAYOUTS}")
    found = listing(sorted(entry.name for entry in folder.iterdir())) or "nothing"
    raise UserError(f"{paths.relative(folder)}: no HAM10000 metadata. {LAYOUTS} Found: {found}.")


def _kind(columns: list[str]) -> str:
    """The kind of a table with these columns; empty: none that is known."""
    if {"lesion_id", "image_id", "dx"} <= set(columns):
        return METADATA
    if isic_archive.is_archive(columns):
        return ARCHIVE
    # Challenges of other years have further classes.
    if "image" in columns and {*CHALLENGE_CLASSES} <= set(columns) and not {"ak", "scc", "unk"} & set(columns):
        return CHALLENGE
    return ""


def _names_ham10000(path: Path, column: str) -> bool:
    """Whether a row of the table in `path` may be of HAM10000: by the numbers, not all are of its test sets."""
    try:
        images = text_tables.read(path).content[column]
    except UserError:
        return True  # whoever reads it says what is wrong
    return any(isic_archive.part(image_id) in (isic_archive.HAM10000, "") for image_id in images)


def _has_tables(path: Path) -> bool:
    """Whether `path` is a zip file with a table that may be the metadata, such as Kaggle's or Dataverse's download."""
    if path.suffix.lower() != ".zip":
        return False
    names, _ = archives.members(path, lambda name: name.lower().endswith((*text_tables.SUFFIXES, ".parquet")))
    wanted = ("metadata", "groundtruth", ".parquet")
    return any(part in name.rpartition("/")[2].lower() for name in names for part in wanted)


def _is_dermamnist(path: Path) -> bool:
    """Whether `path` is MedMNIST's file, by the names of its arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"train_images.npy", "train_labels.npy"} <= set(archive.namelist())
    except Exception:  # nobody knows all that foreign bytes make zipfile raise
        return False


def _groupings(files: list[tuple[Path, list[str]]], table: Path) -> Path:
    """The file that says which images of the challenge show one lesion."""
    for directory, names in files:
        for name in names:
            path = directory / name
            if path.suffix.lower() in text_tables.SUFFIXES and path != table:
                columns = text_tables.columns(path)
                if {"image", "lesion_id"} <= set(columns) and not {*CHALLENGE_CLASSES} & set(columns):
                    return path
    raise UserError(
        f"{paths.relative(table)} says nothing of lesions, and without them images of one lesion would be trained on "
        f"and tested on. Fetch {GROUPINGS_FILE} from {CHALLENGE_PAGE} (Task 3, training), and put it beside that file"
    )


def _parts(files: list[tuple[Path, list[str]]], folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """The published parts "1" and "2" of the images, as zip files and as folders, those that are here."""
    zips: dict[str, Path] = {}
    part_folders: dict[str, list[Path]] = {"1": [], "2": []}
    for directory, names in files:
        # Kaggle's archive may unpack to a part folder within a part folder, so the parent's name counts too.
        for step in reversed(directory.relative_to(folder).parts[-2:]):
            part = PART_NAME.fullmatch(step)
            if part and not part[2] and any(IMAGE_NAME.fullmatch(name) for name in names):
                part_folders[part[1]].append(directory)
                break
        for name in names:
            part = PART_NAME.fullmatch(name)
            if part and part[2]:
                zips.setdefault(part[1], directory / name)
    # Kaggle has every part twice, under two spellings: one of them, the fuller, is enough.
    chosen = {
        part: max(sorted(candidates), key=lambda path: sum(1 for _ in image_names(path)))
        for part, candidates in part_folders.items()
        if candidates and part not in zips
    }
    return zips, chosen


def _zip_files(files: list[tuple[Path, list[str]]]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The zip files with images, and a note on those that cannot be read."""
    found, notes = [], []
    for directory, names in files:
        for name in names:
            if name.lower().endswith(".zip"):
                images, faults = image_members(directory / name)
                if images:
                    found.append(directory / name)
                elif faults:
                    notes.append(f"{name} is passed over: {faults[0]}.")
    return tuple(found), tuple(notes)
