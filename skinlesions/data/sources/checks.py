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
    "anterior torso",  # this one, head/neck and lateral torso: where only the ISIC Archive's broader names are known
    "back",
    "chest",
    "ear",
    "face",
    "foot",
    "genital",
    "hand",
    "head/neck",
    "lateral torso",
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
    """Refuse metadata that lack a column; others than those of HAM10000 do no harm.

    Raises:
        UserError: the header is not that of HAM10000's metadata.
    """
    missing = [name for name in METADATA_COLUMNS if name not in header]
    raise_faults(file, [f"row 1: column {name!r} is missing; take the metadata file as published" for name in missing])


def check_metadata(table: pd.DataFrame, file: str) -> pd.DataFrame:
    """The normalised metadata: METADATA_COLUMNS, sorted by image_id, age float64 with NaN where it is missing.

    Args:
        table: the columns of METADATA_COLUMNS as text, and OPTIONAL_COLUMN, which is kept if any row has a value (other
            columns are dropped). The index is the row in the file if it is called `row`; else row i is row i + 2.
        file: the name of the file in messages.

    Raises:
        UserError: with every fault of every row.
    """
    numbers = table.index.tolist() if table.index.name == "row" else list(range(2, len(table) + 2))
    columns = [*METADATA_COLUMNS, *([OPTIONAL_COLUMN] if OPTIONAL_COLUMN in table.columns else [])]
    table = table.loc[:, columns].reset_index(drop=True)
    if table.empty:
        raise UserError(f"{file}: no rows after the header; take the metadata file as published")
    if OPTIONAL_COLUMN in columns and (table[OPTIONAL_COLUMN] == "").all():
        table = table.drop(columns=OPTIONAL_COLUMN)
    for column in ("sex", "localization"):
        table[column] = table[column].where(~table[column].str.lower().isin(MISSING), "unknown")

    faults: list[tuple[int, str]] = []  # (row, text)

    def fault_each(column: str, faulty: pd.Series, text: str) -> None:
        """One fault per marked row: what the value is, and `text`."""
        for position, value in table[column][faulty].items():
            faults.append((numbers[position], f"{column} is {value!r}; {text}"))

    def no_identifier(column: str) -> pd.Series:
        return ~table[column].map(lambda text: bool(IDENTIFIER.fullmatch(text)))

    for column in ("image_id", "lesion_id"):
        fault_each(column, no_identifier(column), "only letters, digits, _ and - are allowed: correct the identifier")
    if OPTIONAL_COLUMN in table.columns:
        faulty = no_identifier(OPTIONAL_COLUMN) & (table[OPTIONAL_COLUMN] != "")
        fault_each(OPTIONAL_COLUMN, faulty, "only letters, digits, _ and - are allowed: correct it or leave it empty")
    allowed = {"dx": CLASSES, "dx_type": DX_TYPES, "sex": SEXES, "localization": LOCALIZATIONS}
    for column, values in allowed.items():
        fault_each(column, ~table[column].isin(values), f"correct it to one of: {', '.join(values)}")

    absent = table["age"].str.lower().isin(MISSING)
    age = pd.to_numeric(table["age"].where(~absent), errors="coerce")
    years = f"give years between 0 and {MAXIMUM_AGE}, or leave it empty"
    fault_each("age", ~absent & ~age.between(0, MAXIMUM_AGE), years)

    first_rows: dict[str, int] = {}
    for number, image_id in zip(numbers, table["image_id"], strict=True):
        first = first_rows.setdefault(image_id, number)
        if first != number:
            faults.append((number, f"image_id {image_id!r} is already in row {first}; remove one of the two"))

    labels: dict[str, tuple[str, int]] = {}
    for number, lesion_id, dx in zip(numbers, table["lesion_id"], table["dx"], strict=True):
        first_dx, first = labels.setdefault(lesion_id, (dx, number))
        if first_dx != dx:
            faults.append(
                (
                    number,
                    f"lesion {lesion_id!r} is {dx!r} here and {first_dx!r} in row {first}; "
                    "give all images of a lesion the same dx",
                )
            )

    raise_faults(file, [f"row {row}: {text}" for row, text in sorted(faults)])
    table["age"] = age.astype("float64")
    return table.sort_values("image_id", ignore_index=True)


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
        f"{file}: image {image_id!r} has a row but no file {image_id}.jpg or .png; add it (is a part missing?)"
        for image_id in metadata["image_id"]
        if image_id not in image_ids
    ]
    raise_faults("images and metadata do not match", [*rowless, *imageless])


def check_image(content: bytes) -> tuple[int, int]:
    """The (width, height) in pixels of the JPEG or PNG file in `content`, the right way up, after decoding all of it.

    Raises:
        ValueError: says what is wrong with the image, as the end of a sentence that begins with its name.
    """
    found = format_of(content)
    if found not in ("JPEG", "PNG"):
        raise ValueError(f"is not a JPEG or PNG image but {found}")
    # Only the decoder of that format, and no colours that would have to be guessed (CMYK, 32 bits).
    width, height = decode(content, formats=(found,), modes=("RGB", "L", "RGBA", "LA", "P")).size
    if min(width, height) < MINIMUM_SIDE:
        raise ValueError(f"is {width} x {height} pixels; the short side must have at least {MINIMUM_SIDE}")
    return width, height


def format_of(content: bytes) -> str:
    """What the file with these bytes is, by its first ones: JPEG, PNG or, as words, something else."""
    begins = (
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"GIF8", "a GIF image"),
        (b"BM", "a BMP image"),
        (b"II*\0", "a TIFF image"),
        (b"MM\0*", "a TIFF image"),
        (b"%PDF", "a PDF file"),
        (b"PK\x03\x04", "a zip file"),
        (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself (git lfs pull)"),
    )
    for beginning, name in begins:
        if content.startswith(beginning):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "a WebP image"
    if content[4:8] == b"ftyp":
        return "an HEIC or AVIF image" if content[8:11] in (b"hei", b"hev", b"mif", b"avi") else "a film"
    if not content:
        return "an empty file"
    if content.lstrip()[:1] == b"<":
        return "a page of HTML or XML"
    return "text" if content[:200].isascii() and b"\0" not in content[:200] else "of no known format"


def listing(values: Iterable[str], most: int = 10) -> str:
    """The first values in one line, for messages."""
    values = list(values)
    return ", ".join(values[:most]) + (f" and {len(values) - most:,} more" if len(values) > most else "")
