"""What raw data must fulfil before anything expensive is done with them.

Every fault is one line with the file, the row and the remedy. Rows are counted as a spreadsheet shows them: the header
is row 1.
"""

import re
from collections.abc import Iterable, Sequence

import pandas as pd

from skinlesions.core.classes import CLASSES, DX_TYPES, METADATA_COLUMNS, SEXES
from skinlesions.core.errors import UserError
from skinlesions.core.errors import raise_faults as raise_faults
from skinlesions.data.decoding import decode

LOCALIZATIONS = (
    "abdomen",
    "acral",
    "back",
    "chest",
    "ear",
    "face",
    "foot",
    "genital",
    "hand",
    "lower extremity",
    "neck",
    "scalp",
    "trunk",
    "unknown",
    "upper extremity",
)

# The collection that an image is from: Dataverse's metadata have this column, Kaggle's do not.
OPTIONAL_COLUMN = "dataset"

# Spellings of a missing value; HAM10000 itself leaves the field empty.
MISSING = ("", "na", "nan", "null", "none")

# An identifier becomes a file name, so nothing else is let through.
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")

MAXIMUM_AGE = 120

# The short side of an image in pixels; HAM10000 has 600 x 450.
MINIMUM_SIDE = 64


def check_columns(header: Sequence[str], file: str) -> None:
    """Refuse metadata that lack a column, repeat one, or have one that is not known.

    Raises:
        UserError: the header is not that of HAM10000's metadata.
    """
    missing = [name for name in METADATA_COLUMNS if name not in header]
    unknown = [name for name in header if name not in (*METADATA_COLUMNS, OPTIONAL_COLUMN)]
    repeated = sorted({name for name in header if header.count(name) > 1})
    faults = [f"row 1: column {name!r} is missing; take the metadata file as published" for name in missing]
    faults += [f"row 1: column {name!r} is not known; remove it" for name in unknown]
    faults += [f"row 1: column {name!r} is there twice; remove one" for name in repeated]
    raise_faults(file, faults)


def check_metadata(table: pd.DataFrame, file: str) -> pd.DataFrame:
    """The normalised metadata: METADATA_COLUMNS, sorted by image_id, age float64 with NaN where it is missing.

    Args:
        table: the columns of METADATA_COLUMNS (others are dropped) as text; row i is row i + 2 of the file.
        file: the name of the file in messages.

    Raises:
        UserError: with every fault of every row.
    """
    table = table.loc[:, list(METADATA_COLUMNS)].reset_index(drop=True)
    if table.empty:
        raise UserError(f"{file}: no rows after the header; take the metadata file as published")
    for column in ("sex", "localization"):
        table[column] = table[column].where(~table[column].str.lower().isin(MISSING), "unknown")

    faults: list[tuple[int, str]] = []  # (row, text)
    for column in ("image_id", "lesion_id"):
        for row, value in _rows(table[column], ~table[column].map(lambda text: bool(IDENTIFIER.fullmatch(text)))):
            faults.append(
                (row, f"{column} is {value!r}; only letters, digits, _ and - are allowed: correct the identifier")
            )
    allowed = {"dx": CLASSES, "dx_type": DX_TYPES, "sex": SEXES, "localization": LOCALIZATIONS}
    for column, values in allowed.items():
        for row, value in _rows(table[column], ~table[column].isin(values)):
            faults.append((row, f"{column} is {value!r}; correct it to one of: {', '.join(values)}"))

    absent = table["age"].str.lower().isin(MISSING)
    age = pd.to_numeric(table["age"].where(~absent), errors="coerce")
    for row, value in _rows(table["age"], ~absent & ~age.between(0, MAXIMUM_AGE)):
        faults.append((row, f"age is {value!r}; give years between 0 and {MAXIMUM_AGE}, or leave it empty"))

    first_rows: dict[str, int] = {}
    for position, image_id in enumerate(table["image_id"]):
        first = first_rows.setdefault(image_id, position)
        if first != position:
            faults.append((position + 2, f"image_id {image_id!r} is already in row {first + 2}; remove one of the two"))

    labels: dict[str, tuple[str, int]] = {}
    for position, (lesion_id, dx) in enumerate(zip(table["lesion_id"], table["dx"], strict=True)):
        first_dx, first = labels.setdefault(lesion_id, (dx, position))
        if first_dx != dx:
            faults.append(
                (
                    position + 2,
                    f"lesion {lesion_id!r} is {dx!r} here and {first_dx!r} in row {first + 2}; "
                    "give all images of a lesion the same dx",
                )
            )

    raise_faults(file, [f"row {row}: {text}" for row, text in sorted(faults)])
    table["age"] = age.astype("float64")
    return table.sort_values("image_id", ignore_index=True)


def _rows(column: pd.Series, faulty: pd.Series) -> list[tuple[int, str]]:
    """The (row in the file, value) of the marked entries."""
    return [(position + 2, value) for position, value in column[faulty].items()]


def check_names(image_ids: dict[str, str], metadata: pd.DataFrame, file: str) -> None:
    """Refuse an image without a row, and a row without an image.

    Args:
        image_ids: image id → where the image is, for messages.
        metadata: as check_metadata returns it.
        file: the name of the metadata file in messages.

    Raises:
        UserError: with every image and every row that has no counterpart.
    """
    known = set(metadata["image_id"])
    rowless = [
        f"{where} has no row in {file}; add the row, or move the image elsewhere"
        for image_id, where in sorted(image_ids.items())
        if image_id not in known
    ]
    imageless = [
        f"{file}: image {image_id!r} has a row but no file {image_id}.jpg; add the file (is a part missing?)"
        for image_id in metadata["image_id"]
        if image_id not in image_ids
    ]
    raise_faults("images and metadata do not match", [*rowless, *imageless])


def check_image(content: bytes) -> tuple[int, int]:
    """The (width, height) in pixels of the JPEG file in `content`, the right way up, after decoding all of it.

    Raises:
        ValueError: says what is wrong with the image, as the end of a sentence that begins with its name.
    """
    # Only the JPEG decoder: a file of another format under this name is a fault, not something to try.
    width, height = decode(content, formats=("JPEG",), modes=("RGB", "L")).size
    if min(width, height) < MINIMUM_SIDE:
        raise ValueError(f"is {width} x {height} pixels; the short side must have at least {MINIMUM_SIDE}")
    return width, height


def listing(values: Iterable[str], most: int = 10) -> str:
    """The first values in one line, for messages."""
    values = list(values)
    return ", ".join(values[:most]) + (f" and {len(values) - most:,} more" if len(values) > most else "")
