"""A split that somebody used, and what is known of its images: what `skinlesions audit` reads."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from skinlesions.core import paths
from skinlesions.core.errors import UserError
from skinlesions.core.formatting import plain, plural
from skinlesions.data import sheets
from skinlesions.data.sheets import Sheet

# What people call the two columns of a split.
IMAGE_NAMES = ("image", "image_id", "isic_id", "image_name", "img_id", "filename", "file_name", "file", "path", "id")
PART_NAMES = ("split", "set", "subset", "partition", "part", "fold", "phase", "usage", "stage")

TRAIN, VALIDATION, TEST = "train", "validation", "test"
ORDER = (TRAIN, VALIDATION, TEST)
SYNONYMS = {"training": TRAIN, "valid": VALIDATION, "val": VALIDATION, "dev": VALIDATION, "testing": TEST}

# More parts than this are no split: the column is another one.
MAXIMUM_PARTS = 100

METADATA = ("lesion_id", "dx", "dx_type")
METADATA_HELP = (
    "give HAM10000_metadata (from Harvard Dataverse, doi:10.7910/DVN/DBW86T, or Kaggle's HAM10000_metadata.csv) with "
    "--metadata, or set HAM10000_DIR to the folder with HAM10000's files"
)


def read(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The split in `path`, and what was normalised, a sentence each.

    Returns:
        image_id (without folder and ending) and part (lower case; train, validation and test by these names), parts in
        this order and others after them. An image that stands in several parts has a row for each.

    Raises:
        UserError: the file is absent, no table, or lacks one of the columns.
    """
    sheet = sheets.read(path)
    image, part = _column(sheet, IMAGE_NAMES), _column(sheet, PART_NAMES)
    notes = list(sheet.notes)
    sheet.refuse((line, "the name of the image is empty") for line, row in sheet.rows if not row[image])
    table = pd.DataFrame(
        {
            "image_id": [sheets.stem(name) for name in sheet.values(image)],
            "part": [SYNONYMS.get(name.lower(), name.lower()) for name in sheet.values(part)],
        }
    )
    if without := int((table["part"] == "").sum()):
        notes.append(f"{sheet.name}: {plain(plural(without, 'row'))} without a part left out")
        table = table[table["part"] != ""]
    if repeated := int(table.duplicated().sum()):
        notes.append(f"{sheet.name}: {plain(plural(repeated, 'row'))} repeated within a part left out")
        table = table.drop_duplicates()
    parts = table["part"].unique()
    if len(parts) < 2:
        raise UserError(
            f"{sheet.name}: all images are in one part, {', '.join(map(repr, parts))}; a split has two or more, "
            f"such as {TRAIN} and {TEST}"
        )
    if len(parts) > MAXIMUM_PARTS:
        raise UserError(
            f"{sheet.name}: column {sheet.header[part]!r} has {len(parts):,} values; expected the name of a part or "
            "the number of a fold"
        )
    # Training first; folds by their numbers.
    rank = {part: (ORDER.index(part) if part in ORDER else len(ORDER), len(part), part) for part in parts}
    table["rank"] = table["part"].map(rank)
    return table.sort_values("rank", kind="stable", ignore_index=True).drop(columns="rank"), notes


def read_metadata(path: Path) -> pd.DataFrame:
    """image_id, lesion_id, dx and dx_type (empty where the file does not say) of every image in the metadata `path`.

    Raises:
        UserError: the file is absent, no table, lacks a column, or has an image twice.
    """
    sheet = sheets.read(path)
    image = sheet.first(("image_id", "isic_id", "image"))
    columns = sheet.positions(METADATA)
    if image is None or not {"lesion_id", "dx"} <= columns.keys():
        raise UserError(
            f"{sheet.name}, line 1: the columns are {', '.join(sheet.header)}; expected image_id, lesion_id, dx and "
            f"dx_type; {METADATA_HELP}"
        )
    sheet.refuse(sheets.duplicates(sheet.rows, image))
    table = pd.DataFrame({"image_id": [sheets.stem(name) for name in sheet.values(image)]})
    for name in METADATA:
        table[name] = sheet.values(columns[name]) if name in columns else ""
    return table


def pairs(path: Path) -> pd.DataFrame | None:
    """image_id and other_image_id of the published pairs in `path`; None if it is not there.

    Raises:
        UserError: the file is no table with these columns.
    """
    if not path.exists():
        return None
    table = pd.read_csv(path, dtype=str)
    columns = ["image_id", "other_image_id"]
    if not set(columns) <= set(table.columns):
        raise UserError(
            f"{paths.relative(path)} has no columns {' and '.join(columns)}; restore it with `git checkout`"
        )
    return table[columns]


def _column(sheet: Sheet, names: Iterable[str]) -> int:
    names = tuple(names)
    position = sheet.first(names)
    if position is None:
        raise UserError(
            f"{sheet.name}, line 1: the columns are {', '.join(sheet.header)}; expected one called {names[0]} "
            f"(or {', '.join(names[1:])})"
        )
    return position
