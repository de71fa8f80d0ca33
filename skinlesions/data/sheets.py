"""A table as people have it: with commas, semicolons or tabs, with or without an index, comments and blank lines.

Columns are found by name, whatever their order and case. What was normalised is noted; what cannot be read is named
with file and line. Lines are counted as an editor shows them.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from skinlesions.core import paths
from skinlesions.core.errors import UserError, raise_faults
from skinlesions.core.formatting import plain, plural

Row = tuple[int, list[str]]  # the line of the file on which it ends, the values
Fault = tuple[int, str]  # the line, what is wrong with it

# No table of images is larger; a file that is would fill the memory.
MAXIMUM_BYTES = 500_000_000

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
COMMENT = "#"

# What pandas calls the column of row numbers that it writes unless told not to.
INDEX_NAMES = ("", "unnamed: 0")

# How files that are no text begin.
SIGNATURES = {b"PK\x03\x04": "a zip file or an Excel workbook", b"\x93NUMPY": "an array of NumPy", b"PAR1": "Parquet"}

_ENDING = re.compile(r"\.[A-Za-z]{2,5}$")


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        name: of its file, for messages.
        header: the names of the columns, as they stand there.
        rows: the line and the values of every row, stripped of blanks.
        notes: what was normalised, a sentence each.
        separator: between the values of a row.
    """

    name: str
    header: list[str]
    rows: list[Row]
    notes: list[str]
    separator: str

    def positions(self, names: Iterable[str]) -> dict[str, int]:
        """The position of each column that has one of `names` (lower case), by that name, in the order of the columns.

        Raises:
            UserError: two columns have the same of these names.
        """
        wanted, found = set(names), dict[str, int]()
        for position, column in enumerate(self.header):
            key = column.lower()
            if key in wanted:
                if key in found:
                    raise UserError(f"{self.name}: column {column!r} is there twice; remove one")
                found[key] = position
        return found

    def first(self, names: Sequence[str]) -> int | None:
        """The position of the column that has the first of `names` (lower case) that a column has; None without one."""
        found = self.positions(names)
        return next((found[name] for name in names if name in found), None)

    def values(self, position: int) -> list[str]:
        """The values of a column."""
        return [row[position] for _, row in self.rows]

    def refuse(self, faults: Iterable[Fault]) -> None:
        """Refuse the file if there are faults.

        Raises:
            UserError: names the first of them.
        """
        raise_faults(self.name, [f"line {line}: {text}" for line, text in sorted(faults)])

    def number(self, text: str) -> float:
        """The number that `text` is, by the comma that goes with semicolons, too.

        Raises:
            ValueError: it is none.
        """
        return float(text.replace(",", ".") if self.separator == ";" else text)


def read(path: Path) -> Sheet:
    """The table in `path`.

    Raises:
        UserError: the file is absent, no text, or no table; the message names the lines.
    """
    name = paths.relative(path)
    text = _text(path, name)
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith(COMMENT))
    first = next(lines, "")
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
    comments = 0
    try:
        for values in reader:
            row = [value.strip() for value in values]
            if row and row[0].startswith(COMMENT):
                comments += 1
            elif any(row):
                rows.append((reader.line_num, row))
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: not CSV ({error})") from None
    if not rows:
        raise UserError(f"{name} is empty; expected a line with the names of its columns")
    (_, header), *rows = rows
    if not rows:
        raise UserError(f"{name} has no rows after the header")
    raise_faults(
        name,
        [f"line {line}: {len(row)} values instead of {len(header)}" for line, row in rows if len(row) != len(header)],
    )
    notes = []
    if separator == ";":
        notes.append(f"{name}: separated by {SEPARATORS[separator]}")
    if comments:
        notes.append(f"{name}: {plain(plural(comments, 'line'))} of comment passed over")
    if unnamed := [position for position, column in enumerate(header) if column.lower() in INDEX_NAMES]:
        header, rows = _without(header, unnamed), [(line, _without(row, unnamed)) for line, row in rows]
        notes.append(f"{name}: {plain(plural(len(unnamed), 'column'))} without a name passed over")
    return Sheet(name, header, rows, notes, separator)


def duplicates(rows: Iterable[Row], position: int, what: str = "image") -> list[Fault]:
    """The rows without a name in the column at `position`, and those whose name an earlier row has."""
    first: dict[str, int] = {}
    faults = []
    for line, row in rows:
        name = row[position]
        if not name:
            faults.append((line, f"the name of the {what} is empty"))
        elif first.setdefault(name, line) != line:
            faults.append((line, f"{what} {name!r} is already in line {first[name]}; remove one of the two"))
    return faults


def stem(name: str) -> str:
    """`name` without folders and the ending of a file."""
    return _ENDING.sub("", name.replace("\\", "/").rsplit("/", 1)[-1])


def _without(values: list[str], positions: Sequence[int]) -> list[str]:
    return [value for position, value in enumerate(values) if position not in positions]


def _text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAXIMUM_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{name} does not exist") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{name} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(content) > MAXIMUM_BYTES:
        raise UserError(f"{name} has more than {MAXIMUM_BYTES:,} bytes; expected a table of images")
    for signature, kind in SIGNATURES.items():
        if content.startswith(signature):
            raise UserError(f"{name} is {kind}; save it as CSV")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not UTF-8 text (byte {error.start:,}); save it as CSV in UTF-8") from None
    if "\0" in text:
        raise UserError(f"{name}: not text (it has a zero byte); save it as CSV in UTF-8")
    return text
