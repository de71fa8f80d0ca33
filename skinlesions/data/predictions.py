"""The out-of-fold predictions of a model: their one file format, checked whenever it is read or written.

A row is one image scored by the model of one fold. Model k is tested on fold k and validated on fold k + 1 (the first
after the last), so every image appears once with split = test and once with split = val.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from skinlesions.core import files, paths
from skinlesions.core.classes import CLASSES, LOGIT_COLUMNS, class_indices
from skinlesions.core.errors import UserError

SPLITS = ("test", "val")
TEXT_COLUMNS = ("image_id", "lesion_id", "group", "dx", "split")
COLUMNS = ("image_id", "lesion_id", "group", "dx", "fold", "split", *LOGIT_COLUMNS)

REMEDY = "Run the train stage of this model again, or restore the file."


def read(path: Path) -> pd.DataFrame:
    """The predictions in `path` (.csv or .csv.gz), columns COLUMNS, sorted by split and image_id.

    Raises:
        UserError: the file is absent, cannot be read, or breaks the format; it names the file and the line.
    """
    name = paths.relative(path)
    try:
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(TEXT_COLUMNS, str),
            keep_default_na=False,
            na_values={column: [""] for column in ("fold", *LOGIT_COLUMNS)},
        )
    except FileNotFoundError:
        raise UserError(f"{name} does not exist. {REMEDY}") from None
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{name} cannot be read as CSV: {error}. {REMEDY}") from None
    check(table, name)
    return table.astype({"fold": "int64"} | dict.fromkeys(LOGIT_COLUMNS, "float64"))


def write(path: Path, table: pd.DataFrame) -> None:
    """Check `table`, sort it and write it to `path` as .csv or .csv.gz, logits with six significant digits.

    Raises:
        UserError: `table` breaks the format.
    """
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise UserError(f"{paths.relative(path)}: the predictions to write have no column {missing[0]!r}")
    table = table[list(COLUMNS)].sort_values(["split", "image_id"], kind="stable", ignore_index=True)
    check(table, paths.relative(path))
    files.write_csv(path, table)


def select(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of `table` whose split is `split` (test or val), one per image, sorted by image_id."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    return table[table["split"] == split].sort_values("image_id", kind="stable", ignore_index=True)


def labels(table: pd.DataFrame) -> np.ndarray:
    """The true class of every row, int64 [N], positions in CLASSES."""
    return class_indices(table["dx"]).to_numpy()


def logits(table: pd.DataFrame) -> np.ndarray:
    """The logits of every row, float64 [N, 7], columns in the order of CLASSES."""
    return table[list(LOGIT_COLUMNS)].to_numpy(dtype=np.float64)


def check(table: pd.DataFrame, name: str) -> None:
    """Refuse predictions that break the format.

    Args:
        table: rows in the order of the file, with the index 0 to N - 1.
        name: what to call the file in messages.

    Raises:
        UserError: the first fault found, with the line of the file (the header is line 1).
    """
    if list(table.columns) != list(COLUMNS):
        raise UserError(f"{name} has the columns {', '.join(table.columns)}; expected {', '.join(COLUMNS)}. {REMEDY}")
    if table.empty:
        raise UserError(f"{name} has no rows. {REMEDY}")

    def refuse(bad: pd.Series | np.ndarray, fault: str) -> None:
        """Report the first row marked in `bad`; `fault` may name columns of it in braces."""
        bad = np.asarray(bad, dtype=bool)
        if bad.any():
            line = int(bad.argmax())
            row = table.iloc[line].to_dict()
            raise UserError(f"{name}, line {line + 2}: {fault.format(**row)}. {REMEDY}")

    for column in ("image_id", "lesion_id", "group"):
        refuse(table[column].str.len() == 0, f"{column} is empty")
    refuse(~table["dx"].isin(CLASSES), f"dx is '{{dx}}'; expected one of {', '.join(CLASSES)}")
    refuse(~table["split"].isin(SPLITS), "split is '{split}'; expected test or val")
    fold = pd.to_numeric(table["fold"], errors="coerce")
    refuse(~((fold >= 0) & (fold % 1 == 0)), "fold is '{fold}'; expected 0, 1, 2 ...")
    for column in LOGIT_COLUMNS:
        values = pd.to_numeric(table[column], errors="coerce")
        refuse(~np.isfinite(values), f"{column} is '{{{column}}}'; expected a finite number")
    refuse(table.duplicated(["split", "image_id"]), "image {image_id} appears a second time with split = {split}")
    keys = list(zip(table["split"], table["image_id"], strict=True))
    refuse([False, *(here < before for before, here in pairwise(keys))], "rows are not sorted by split and image_id")
    rows = table.groupby("image_id")["split"].transform("size")
    refuse(rows != len(SPLITS), "image {image_id} has split = {split} only; expected one test and one val row")

    is_test = table["split"] == "test"
    test = table[is_test].assign(fold=fold[is_test]).set_index("image_id")
    for column in ("lesion_id", "group", "dx"):
        expected = table["image_id"].map(test[column])
        refuse(table[column] != expected, f"{column} differs between the test and the val row of {{image_id}}")
    tested = table["image_id"].map(test["fold"])
    used = np.unique(test["fold"])
    refuse(fold > len(used) - 1, f"fold is {{fold}}, but the test rows have {len(used)} folds; expected them from 0 on")
    refuse(
        ~is_test & (fold != (tested - 1) % len(used)),
        "image {image_id} was validated by model {fold}; expected the model before the one that tests it",
    )
    for column in ("lesion_id", "group"):
        folds = tested.groupby(table[column])
        refuse(folds.transform("min") != folds.transform("max"), f"{column} {{{column}}} is in two test folds")
