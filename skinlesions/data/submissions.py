"""Predictions and diagnoses of the same images, in the files that people have: what `skinlesions evaluate` reads.

Whatever the official scorer of the ISIC challenges takes is taken, and some more, with a note of what was normalised:

- predictions: a column with the name of the image (or lesion) and one column of probabilities per class, in any order;
  or that column and `dx`, the answer itself;
- diagnoses: the same with one 1 in a row; or, as the metadata of HAM10000, the name and `dx`. Either may have
  lesion_id, score_weight and validation_weight.

ISIC 2019 and MILK10k have classes beside the seven: they are scored where both files have them.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.core.formatting import plain, plural
from skinlesions.data import isic_csv, sheets
from skinlesions.data.sheets import Fault, Sheet

# What the column with the name of the image is called, the first that is there.
KEYS = ("image", "image_id", "isic_id", "image_name", "lesion_id")
LESION = "lesion_id"
DX = "dx"
WEIGHTS = ("score_weight", "validation_weight")

# Classes of later challenges: actinic keratoses have a name of their own, the others have no place among the seven.
SAME = {"ak": "akiec"}
OTHERS = ("scc", "unk", "sccka", "ben_oth", "inf", "mal_oth")
CATEGORIES = (*CLASSES, *SAME, *OTHERS)

# The image that no score counts: the organisers of the challenge found a fault in it after the fact.
UNSCORED = "ISIC_0035068"

_ENDING = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)


@dataclass(frozen=True)
class Matched:
    """Predictions and diagnoses of the same images.

    Attributes:
        images: their names, sorted, str [N].
        categories: what is told apart, C classes in lower case, as the table of diagnoses orders them.
        truth: the position of each diagnosis in `categories`, int [N].
        values: as they were predicted, float64 [N, C], in [0, 1]; rows need not sum to 1.
        lesions: of every image, str [N]; None where the files do not say.
        weights: how much each image counts for the score and for the validation, float64 [N, 2].
        notes: what was normalised or left out, a sentence each.
    """

    images: np.ndarray
    categories: tuple[str, ...]
    truth: np.ndarray
    values: np.ndarray
    lesions: np.ndarray | None
    weights: np.ndarray
    notes: tuple[str, ...]

    def of(self, rows: np.ndarray, categories: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Labels and values of some images, told apart by some categories only, in their order.

        Args:
            rows: bool [N]; the diagnoses of these images are among `categories`.
            categories: K of those that are told apart.

        Returns:
            int [n], positions in `categories`, and float64 [n, K].
        """
        columns = np.array([self.categories.index(name) for name in categories])
        place = np.full(len(self.categories), -1)
        place[columns] = np.arange(len(columns))
        return place[self.truth[rows]], self.values[np.ix_(rows, columns)]


def read(predictions: Path, diagnoses: Path) -> Matched:
    """The images of both files.

    Raises:
        UserError: a file breaks its form, or the two do not have the same images; the message names the lines.
    """
    given, known = sheets.read(predictions), sheets.read(diagnoses)
    notes = [*given.notes, *known.notes]
    submitted, predicted = _predictions(given, notes)
    truth, told = _diagnoses(known, notes)
    lacking = [name for name in CLASSES if name not in predicted]
    if lacking:
        raise UserError(f"{given.name}: there is no column {lacking[0].upper()}; add the probabilities of that class")
    if surplus := [name for name in predicted if name not in told]:
        listed = ", ".join(name.upper() for name in surplus)
        notes.append(f"{given.name}: {listed} passed over, which {known.name} does not have")
    submitted, truth = _without_unscored(submitted, truth)
    table = isic_csv.match(submitted, truth, given.name, known.name)
    for name in (name for name in told if name not in predicted):
        if out := int((table[DX] == name).sum()):
            images = plain(plural(out, "image"))
            notes.append(f"{images} of {name.upper()} left out, which {given.name} does not predict")
        table = table[table[DX] != name]
    if table.empty:
        raise UserError(f"{known.name}: no image is of a class that {given.name} predicts")
    categories = tuple(name for name in told if name in predicted)
    lesions = None if table[LESION].isna().any() else table[LESION].to_numpy(dtype=str)
    return Matched(
        images=table["image"].to_numpy(dtype=str),
        categories=categories,
        truth=table[DX].map(categories.index).to_numpy(dtype=np.int64),
        values=table[list(categories)].to_numpy(dtype=np.float64),
        lesions=lesions,
        weights=table[list(WEIGHTS)].to_numpy(dtype=np.float64),
        notes=tuple(notes),
    )


def _without_unscored(submitted: pd.DataFrame, truth: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables; without the image that does not count unless both have it, and with no weight if they do."""
    if (submitted["image"] == UNSCORED).any() and (truth["image"] == UNSCORED).any():
        truth.loc[truth["image"] == UNSCORED, list(WEIGHTS)] = 0.0
        return submitted, truth
    return submitted[submitted["image"] != UNSCORED], truth[truth["image"] != UNSCORED]


def _predictions(sheet: Sheet, notes: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """image, line and one float64 column per category, and the categories."""
    columns = _categories(sheet)
    key = _key(sheet)
    if not columns and sheet.first([DX]) is not None:
        answers, faults = _dx(sheet)
        sheet.refuse([*faults, *sheets.duplicates(sheet.rows, key)])
        notes.append(f"{sheet.name}: answers without probabilities; each counts as 1")
        names = [*CLASSES, *sorted(set(answers) - set(CLASSES))]
        values = np.array([[float(answer == name) for name in names] for answer in answers])
        return _named(sheet, key, notes, names, values), names
    if not columns:
        raise UserError(
            f"{sheet.name}, line 1: no column has the name of a class ({', '.join(isic_csv.COLUMNS)}); the columns are "
            f"{', '.join(sheet.header)}"
        )
    _pass_over(sheet, [key, *columns.values()], notes, [LESION, *WEIGHTS, DX])
    values = np.full((len(sheet.rows), len(columns)), np.nan)
    faults = []
    for place, (line, row) in enumerate(sheet.rows):
        for number, position in enumerate(columns.values()):
            value = _number(sheet, row[position])
            if not 0 <= value <= 1:
                what = f"{sheet.header[position]} is {row[position]!r}; expected a probability from 0 to 1"
                faults.append((line, f"{what}{'' if math.isnan(value) else ' (of logits take the softmax)'}"))
                break
            values[place, number] = value
    sheet.refuse([*faults, *sheets.duplicates(sheet.rows, key)])
    if whole := [sheet.header[k] for k in columns.values() if all(text.isdigit() for text in sheet.values(k))]:
        notes.append(
            f"{sheet.name}: {', '.join(whole)} "
            "as whole numbers, which the official scorer refuses: it wants 1.0 and 0.0"
        )
    return _named(sheet, key, notes, list(columns), values), list(columns)


def _diagnoses(sheet: Sheet, notes: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """image, line, lesion_id (None where there is none), dx and WEIGHTS, and the categories that it tells apart."""
    columns = _categories(sheet)
    key, lesion = _key(sheet), sheet.first([LESION])
    if not columns:
        if sheet.first([DX]) is None:
            raise UserError(
                f"{sheet.name}, line 1: the columns are {', '.join(sheet.header)}; expected one per class "
                f"({','.join(isic_csv.HEADER)}), or {','.join(isic_csv.METADATA_HEADER)}"
            )
        dx, faults = _dx(sheet)
        told = [*CLASSES, *sorted(set(dx) - set(CLASSES))]
    else:
        if absent := [name for name in CLASSES if name not in columns]:
            raise UserError(f"{sheet.name}: there is no column {absent[0].upper()}; a table of diagnoses has all seven")
        dx, faults = _one_hot(sheet, columns)
        told = list(columns)
        weights = sheet.positions(WEIGHTS).values()
        _pass_over(sheet, [key, *columns.values(), *weights], notes, [LESION, DX])
    lesions: list[str | None] = [None] * len(sheet.rows)
    if lesion is not None:
        faults += [(line, f"{LESION} is empty") for line, row in sheet.rows if not row[lesion]]
        lesions = list(sheet.values(lesion))
    faults += sheets.duplicates(sheet.rows, key)
    table = _named(sheet, key, notes, [], np.empty((len(sheet.rows), 0)))
    for name in WEIGHTS:
        table[name], wrong = _weights(sheet, name)
        faults += wrong
    sheet.refuse(faults)
    table[LESION], table[DX] = pd.Series(lesions, dtype=object), dx
    if lesion is not None:
        _note_two_diagnoses(table, sheet.name, notes)
    return table, told


def _categories(sheet: Sheet) -> dict[str, int]:
    """The position of the column of every category, by its name, in the order of the file.

    Raises:
        UserError: two columns are of one category.
    """
    found: dict[str, int] = {}
    for name, position in sheet.positions(CATEGORIES).items():
        if (category := SAME.get(name, name)) in found:
            first, second = sheet.header[found[category]], sheet.header[position]
            raise UserError(f"{sheet.name}: the columns {first!r} and {second!r} are of one class; remove one")
        found[category] = position
    return found


def _key(sheet: Sheet) -> int:
    """The position of the column with the names of the images."""
    key = sheet.first(KEYS)
    if key is None:
        raise UserError(
            f"{sheet.name}, line 1: the columns are {', '.join(sheet.header)}; expected one called {KEYS[0]}, "
            "with the names of the images"
        )
    return key


def _named(sheet: Sheet, key: int, notes: list[str], names: list[str], values: np.ndarray) -> pd.DataFrame:
    """image (without the ending of a file), line, and `values` under `names`.

    Raises:
        UserError: without their endings two images have one name.
    """
    images = [_ENDING.sub("", name) for name in sheet.values(key)]
    ended = sum(image != name for image, name in zip(images, sheet.values(key), strict=True))
    if ended:
        notes.append(f"{sheet.name}: {plain(plural(ended, 'name'))} without the ending of a file")
        sheet.refuse(sheets.duplicates([(line, [name]) for (line, _), name in zip(sheet.rows, images, strict=True)], 0))
    table = pd.DataFrame(values, columns=names)
    table.insert(0, "image", images)
    table.insert(1, "line", [line for line, _ in sheet.rows])
    return table


def _number(sheet: Sheet, text: str) -> float:
    """The number that `text` is; NaN if it is none."""
    try:
        return sheet.number(text)
    except ValueError:
        return math.nan


def _dx(sheet: Sheet) -> tuple[list[str], list[Fault]]:
    """The class of every row, from the column `dx`."""
    position = sheet.positions([DX])[DX]
    found = [SAME.get(value.lower(), value.lower()) for value in sheet.values(position)]
    expected = ", ".join(CLASSES)
    faults = [
        (line, f"dx is {row[position]!r}; expected one of {expected}")
        for (line, row), name in zip(sheet.rows, found, strict=True)
        if name not in CATEGORIES
    ]
    return found, faults


def _one_hot(sheet: Sheet, columns: dict[str, int]) -> tuple[list[str], list[Fault]]:
    """The class of every row, from rows of 0 and 1."""
    names, positions = list(columns), list(columns.values())
    dx, faults = [], []
    for line, row in sheet.rows:
        values = [_number(sheet, row[position]) for position in positions]
        ones = values.count(1.0)
        wrong = next((k for k, value in enumerate(values) if value not in (0.0, 1.0)), None)
        if wrong is not None:
            shown = f"{sheet.header[positions[wrong]]} is {row[positions[wrong]]!r}"
            faults.append((line, f"{shown}; a diagnosis is a 1 among 0, not a probability"))
        elif ones != 1:
            faults.append((line, "no class is 1" if not ones else f"{'two' if ones == 2 else ones} classes are 1"))
        dx.append(names[values.index(1.0)] if ones else "")
    return dx, faults


def _weights(sheet: Sheet, name: str) -> tuple[list[float], list[Fault]]:
    """The weight of every image from the column `name`, or 1."""
    position = sheet.first([name])
    if position is None:
        return [1.0] * len(sheet.rows), []
    weights = [_number(sheet, text) for text in sheet.values(position)]
    faults = [
        (line, f"{name} is {row[position]!r}; expected a number, 0 or more")
        for (line, row), weight in zip(sheet.rows, weights, strict=True)
        if not 0 <= weight < math.inf
    ]
    return weights, faults


def _pass_over(sheet: Sheet, read_here: list[int], notes: list[str], known: list[str]) -> None:
    """Note the columns that are not read and have no known purpose."""
    others = [
        column
        for position, column in enumerate(sheet.header)
        if position not in read_here and column.lower() not in known
    ]
    if others:
        notes.append(f"{sheet.name}: passed over {', '.join(map(repr, others))}")


def _note_two_diagnoses(table: pd.DataFrame, name: str, notes: list[str]) -> None:
    """Note the lesions whose images have different diagnoses."""
    kinds = table.groupby(LESION)[DX].nunique()
    if count := int((kinds > 1).sum()):
        lesions, first = plain(plural(count, "lesion")), kinds.index[kinds > 1][0]
        notes.append(f"{name}: {lesions} with several diagnoses, the first {first!r}; resampled with the commonest")
