"""The files of the ISIC 2018 challenge, Task 3: what is submitted, and the truth that it is scored against.

A submission has one row per image: `image,MEL,NV,BCC,AKIEC,BKL,DF,VASC`, a name and seven probabilities. A ground truth
is the same with one 1 and six 0 in a row, or a table with the columns image_id, lesion_id and dx, as HAM10000's
metadata and the published truth of the test set are. Every fault is named with the file and the line.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from skinlesions.core import files, paths
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data.sources.checks import raise_faults

# The challenge has an order of its own.
COLUMNS = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
HEADER = ("image", *COLUMNS)
LESION = "lesion_id"
METADATA_HEADER = ("image_id", LESION, "dx")

# How far the sum of a row may be from 1: probabilities rounded to three decimals stay within.
SUM_TOLERANCE = 0.005

# Column k of a file is class CLASSES[_POSITIONS[k]].
_POSITIONS = [CLASSES.index(name.lower()) for name in COLUMNS]

Row = tuple[int, list[str]]  # the line of the file on which it ends, the values


def write_rows(stream: TextIO, images: Sequence[str], probabilities: np.ndarray) -> None:
    """Append one row per image to `stream`; `write_header` comes first.

    Args:
        stream: text, opened with newline="".
        images: the names, N of them.
        probabilities: float [N, 7], columns in the order of CLASSES.
    """
    writer = csv.writer(stream, lineterminator="\n")
    for image, row in zip(images, np.asarray(probabilities)[:, _POSITIONS], strict=True):
        writer.writerow([image, *(files.FLOAT_FORMAT % value for value in row)])


def write_header(stream: TextIO) -> None:
    """Write the header of a submission to `stream`."""
    stream.write(",".join(HEADER) + "\n")


def write(path: Path, images: Sequence[str], probabilities: np.ndarray) -> None:
    """Write a submission to `path`, whole or not at all; see `write_rows`.

    Raises:
        UserError: it would break the format: an image is there twice, or a row is not one of probabilities.
    """
    buffer = io.StringIO(newline="")
    write_header(buffer)
    write_rows(buffer, images, probabilities)
    _submission(buffer.getvalue(), paths.relative(path))
    files.write_text(path, buffer.getvalue())


def read(path: Path) -> pd.DataFrame:
    """The submission in `path`, in the order of the file: image, line (of the file), and one float64 column per class.

    Raises:
        UserError: the file is absent, or breaks the format; the message names the lines.
    """
    return _submission(_text(path), paths.relative(path))


def read_ground_truth(path: Path) -> pd.DataFrame:
    """The ground truth in `path`, in the order of the file: image, line (of the file), lesion_id, dx.

    Both forms are read, separated by commas or tabs; columns that are not needed are passed over. The lesion_id is
    None in every row of a file that has no such column.

    Raises:
        UserError: the file is absent, or breaks the format; the message names the lines.
    """
    name, text = paths.relative(path), _text(path)
    header, rows = _rows(text, name)
    if set(METADATA_HEADER) <= set(header):
        return _from_metadata(header, rows, name)
    if tuple(header) not in (HEADER, (*HEADER, LESION)):
        raise UserError(
            f"{name}, line 1: the columns are {', '.join(header)}; expected {','.join(HEADER)}, if known with a last "
            f"column {LESION}, or a table with the columns {', '.join(METADATA_HEADER)}"
        )
    return _from_one_hot(rows, name, has_lesions=header[-1] == LESION)


def match(submitted: pd.DataFrame, truth: pd.DataFrame, submission_name: str, truth_name: str) -> pd.DataFrame:
    """The rows of `truth` with the probabilities that were submitted for the same image, sorted by image.

    Args:
        submitted: as `read` returns it.
        truth: as `read_ground_truth` returns it.
        submission_name: what to call the files in messages, and so `truth_name`.

    Raises:
        UserError: an image is in one of the files only; all such rows are counted, the first ones named.
    """
    lacking = truth[~truth["image"].isin(submitted["image"])]
    surplus = submitted[~submitted["image"].isin(truth["image"])]
    faults = [
        f"{truth_name}, line {line}: {submission_name} has no row for image {image!r}; add its prediction"
        for line, image in zip(lacking["line"], lacking["image"], strict=True)
    ]
    faults += [
        f"{submission_name}, line {line}: {truth_name} has no row for image {image!r}; remove its prediction"
        for line, image in zip(surplus["line"], surplus["image"], strict=True)
    ]
    raise_faults("predictions and ground truth do not match", faults)
    return truth.merge(submitted.drop(columns="line"), on="image").sort_values("image", ignore_index=True)


def probabilities(submitted: pd.DataFrame) -> np.ndarray:
    """The probabilities of every row, float64 [N, 7], columns in the order of CLASSES."""
    return submitted[list(CLASSES)].to_numpy(dtype=np.float64)


def _text(path: Path) -> str:
    name = paths.relative(path)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{name} does not exist") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not UTF-8 text (byte {error.start:,}); save it as CSV in UTF-8") from None
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror})") from None


def _rows(text: str, name: str) -> tuple[list[str], list[Row]]:
    """The header and the rows of a table, stripped of blanks, without empty lines."""
    separator = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = [(reader.line_num, [value.strip() for value in row]) for row in reader if row]
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: not CSV ({error})") from None
    if not rows:
        raise UserError(f"{name} is empty; expected the header {','.join(HEADER)}")
    (_, header), *rows = rows
    if not rows:
        raise UserError(f"{name} has no rows after the header")
    faults = [
        f"line {line}: {len(row)} values instead of {len(header)}" for line, row in rows if len(row) != len(header)
    ]
    raise_faults(name, faults)
    return header, rows


def _submission(text: str, name: str) -> pd.DataFrame:
    """The table of `read` from the text of a submission."""
    header, rows = _rows(text, name)
    if tuple(header) != HEADER:
        raise UserError(f"{name}, line 1: the columns are {', '.join(header)}; expected {','.join(HEADER)}")
    faults = _duplicates(rows, 0)
    values = np.full((len(rows), len(COLUMNS)), np.nan)
    for position, (line, (_, *row)) in enumerate(rows):
        try:
            values[position] = _probabilities(row)
        except ValueError as error:
            faults.append((line, str(error)))
    _raise(name, faults)
    table = _named(rows, 0)
    table[list(CLASSES)] = values[:, np.argsort(_POSITIONS)]
    return table


def _probabilities(row: Sequence[str]) -> list[float]:
    """The numbers of `row`.

    Raises:
        ValueError: says what is wrong with them.
    """
    values = []
    for column, text in zip(COLUMNS, row, strict=True):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise ValueError(f"{column} is {text!r}; expected a probability from 0 to 1")
        values.append(value)
    total = sum(values)
    if abs(total - 1) > SUM_TOLERANCE:
        raise ValueError(f"the probabilities sum to {total:.6g}; expected 1 (divide the row by its sum)")
    return values


def _from_one_hot(rows: Sequence[Row], name: str, has_lesions: bool) -> pd.DataFrame:
    """The table of `read_ground_truth` from rows of 0 and 1."""
    faults = _duplicates(rows, 0)
    dx: list[str | None] = []
    for line, row in rows:
        try:
            values = _probabilities(row[1 : len(HEADER)])
        except ValueError as error:
            faults.append((line, str(error)))
            continue
        if sorted(values) != [0.0] * (len(COLUMNS) - 1) + [1.0]:
            faults.append((line, "expected one 1 and else 0, as a ground truth has"))
            continue
        dx.append(COLUMNS[values.index(1.0)].lower())
    if has_lesions:
        faults += _empty(rows, len(HEADER), LESION)
    _raise(name, faults)
    lesions = [row[len(HEADER)] if has_lesions else None for _, row in rows]
    return _named(rows, 0).assign(lesion_id=pd.Series(lesions, dtype=object), dx=dx)


def _from_metadata(header: Sequence[str], rows: Sequence[Row], name: str) -> pd.DataFrame:
    """The table of `read_ground_truth` from rows with the columns of METADATA_HEADER, and any others."""
    twice = [column for column in METADATA_HEADER if header.count(column) > 1]
    if twice:
        raise UserError(f"{name}, line 1: column {twice[0]!r} is there twice; remove one")
    image, lesion, dx = (header.index(column) for column in METADATA_HEADER)
    faults = _duplicates(rows, image) + _empty(rows, lesion, LESION)
    faults += [
        (line, f"dx is {row[dx]!r}; expected one of {', '.join(CLASSES)}")
        for line, row in rows
        if row[dx] not in CLASSES
    ]
    _raise(name, faults)
    return _named(rows, image).assign(lesion_id=[row[lesion] for _, row in rows], dx=[row[dx] for _, row in rows])


def _named(rows: Sequence[Row], column: int) -> pd.DataFrame:
    """The columns image and line of `rows`, whose value number `column` is the name of the image."""
    columns: dict[str, Any] = {"image": [row[column] for _, row in rows], "line": [line for line, _ in rows]}
    return pd.DataFrame(columns)


def _duplicates(rows: Iterable[Row], column: int) -> list[tuple[int, str]]:
    """The rows without the name of an image, and those whose image an earlier row has, as (line, fault)."""
    first: dict[str, int] = {}
    faults = []
    for line, row in rows:
        image = row[column]
        if not image:
            faults.append((line, "the name of the image is empty"))
        elif first.setdefault(image, line) != line:
            faults.append((line, f"image {image!r} is already in line {first[image]}; remove one of the two"))
    return faults


def _empty(rows: Iterable[Row], column: int, name: str) -> list[tuple[int, str]]:
    """The rows whose value number `column` is empty, as (line, fault)."""
    return [(line, f"{name} is empty") for line, row in rows if not row[column]]


def _raise(name: str, faults: Iterable[tuple[int, str]]) -> None:
    """Refuse the file `name` if there are faults."""
    raise_faults(name, [f"line {line}: {text}" for line, text in sorted(faults)])
