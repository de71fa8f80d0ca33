"""Tables as people have them: CSV with commas, semicolons or tabs, saved by whatever program, read into one form.

What had to be normalised is said in notes; what cannot be read is refused with the file and the row. Rows are counted
as a spreadsheet shows them: the header is row 1, and blank lines count.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from skinlesions.core import paths
from skinlesions.core.errors import UserError
from skinlesions.data.sources.checks import listing, raise_faults

SUFFIXES = (".csv", ".tab", ".tsv", ".txt")

# How much is read to see what columns a table has.
HEAD_BYTES = 65_536

# No table of a million images is larger.
MAXIMUM_BYTES = 500_000_000

SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons"}
COMMENT = "#"


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Attributes:
        name: the file, for messages.
        content: the columns, named in lower case, and their values, stripped; the index is the row in the file.
        notes: what was normalised, as sentences.
    """

    name: str
    content: pd.DataFrame
    notes: tuple[str, ...]


def columns(path: Path) -> list[str]:
    """The names of the columns of the table in `path`, in lower case; none if that is no table in UTF-8."""
    try:
        if not path.is_file():
            return []
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        lines = [line for line in head.decode("utf-8-sig", errors="strict").splitlines() if not _passed_over(line)]
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not a character cut in two
            return []
        lines = head[: error.start].decode("utf-8-sig").splitlines()
    except OSError:
        return []
    if not lines:
        return []
    try:
        header = next(csv.reader(lines[:1], delimiter=_separator(lines[0])))
    except csv.Error:
        return []
    return [name.strip().lower() for name in header]


def read(path: Path, remedy: str = "take the file as published") -> TextTable:
    """The table in `path`.

    Args:
        remedy: what to do about a file that is no such table, as the end of a sentence.

    Raises:
        UserError: the file cannot be read, is no table in UTF-8, or has rows of different lengths or a column twice.
    """
    name = paths.relative(path)
    text = _text(path, name, remedy)
    lines = io.StringIO(text, newline="")
    first = next((line for line in text.splitlines() if not _passed_over(line)), "")
    separator = _separator(first)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    rows: list[tuple[int, list[str]]] = []
    comments, number = 0, 0
    try:
        for row in reader:
            number += 1
            values = [value.strip() for value in row]
            if values and values[0].startswith(COMMENT):
                comments += 1
            elif any(values):
                rows.append((number, values))
    except csv.Error as error:
        raise UserError(f"{name}: row {number + 1} is not a row of a table ({error}); {remedy}") from None
    if not rows:
        raise UserError(f"{name}: empty; {remedy}")
    (_, header), *rows = rows
    names = [column.lower() for column in header]
    # A spreadsheet's or pandas' own numbering of the rows.
    unnamed = [place for place, column in enumerate(names) if column in ("", "unnamed: 0")]
    twice = sorted({column for place, column in enumerate(names) if place not in unnamed and names.count(column) > 1})
    raise_faults(name, [f"row 1: column {column!r} is there twice; remove one" for column in twice])
    raise_faults(
        name,
        [
            f"row {number}: {len(row)} values instead of {len(names)}; restore the row as published"
            for number, row in rows
            if len(row) != len(names)
        ],
    )
    notes = []
    if separator == ";":
        notes.append(f"{path.name} is separated by semicolons.")
    if comments:
        notes.append(f"{path.name}: comment lines are passed over ({comments:,}).")
    if unnamed:
        notes.append(f"{path.name}: a column without a name is passed over.")
    kept = [place for place in range(len(names)) if place not in unnamed]
    content = pd.DataFrame(
        [[row[place] for place in kept] for _, row in rows],
        columns=[names[place] for place in kept],
        index=pd.Index([number for number, _ in rows], name="row"),
        dtype=object,
    )
    return TextTable(name, content, tuple(notes))


def unused(table: TextTable, used: Sequence[str]) -> list[str]:
    """A note on the columns of `table` that are not among `used`; none without any."""
    names = [_shown(column) for column in table.content.columns if column not in used]
    return [f"{Path(table.name).name}: columns that are passed over: {listing(names)}."] if names else []


def _shown(name: str) -> str:
    """A name from a foreign file as a report may show it."""
    short = name if len(name) <= 40 else f"{name[:40]}…"
    return short if short.isprintable() else repr(short)


def _passed_over(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith(COMMENT)


def _separator(header: str) -> str:
    """What separates the values of the line `header`: of the known ones, the one that it has most often."""
    return max(SEPARATORS, key=header.count)


def _text(path: Path, name: str, remedy: str) -> str:
    try:
        if not path.is_file():
            raise UserError(f"{name} is not a file that can be read; {remedy}")
        if path.stat().st_size > MAXIMUM_BYTES:
            raise UserError(f"{name} has more than {MAXIMUM_BYTES:,} bytes, which no such table has; {remedy}")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}: not UTF-8 text (byte {error.start:,}); save it as CSV in UTF-8, or {remedy}"
        ) from None
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror}); {remedy}") from None
