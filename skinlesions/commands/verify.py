"""Do the published tables follow from the published predictions?

Recomputes every table that follows from them, by the functions that core/tables.yaml names, and metrics.json, from
reports/predictions/ and the parameters in reports/provenance.json, and compares them with reports/. What does not
follow, such as the notebooks, is compared with the hashes of the last run, and the README with the report. Needs
neither images nor weights, a GPU or TensorFlow.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from skinlesions.commands import readme
from skinlesions.core import config, files, paths, tables
from skinlesions.core.errors import UserError
from skinlesions.data import predictions, records
from skinlesions.evaluation import classification, comparison, external, metrics, study
from skinlesions.report import contents

# The chapters, all tables of which follow from the predictions.
CHAPTERS = ("compare", "external")

RELATIVE_TOLERANCE = 1e-5
# For numbers that are zero but for rounding.
ABSOLUTE_TOLERANCE = 1e-9
SHOWN = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """It takes no arguments."""


def run(arguments: argparse.Namespace) -> None:
    """One line per table, then the faults; exit code 1 if there are any."""
    if not agree():
        sys.exit(1)


def agree() -> bool:
    """Whether the published files follow from the predictions, and are as they were published.

    Prints one line per file, then the faults.
    """
    count, sound = 0, True
    faults: list[str] = []
    for name, found in differences(paths.REPORTS):
        count += 1
        faults += found
        print(
            f"{'ok  ' if not found else 'FAIL'} {name}" + (f": {len(found)} difference(s)" if found else ""), flush=True
        )
    if faults:
        sound = False
        print(f"{len(faults)} difference(s) between the published files and the predictions, the first {SHOWN}:")
        print("\n".join(f"  {fault}" for fault in faults[:SHOWN]))
        print("Run `make report` to publish again, or restore reports/ from Git.")
    for title, check in (
        ("every file of the report is as it was published", contents.faults(paths.REPORTS, paths.DVC_LOCK)),
        ("README.md shows the results of the report", _readme_faults()),
    ):
        found = list(check)
        sound = sound and not found
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        print("\n  ".join([f"{'FAIL' if found else 'ok  '} {title}", *found[:SHOWN], *more]), flush=True)
    if sound:
        print(
            f"all {count} files follow from the predictions in {paths.relative(paths.REPORTS_PREDICTIONS)}; what needs "
            "the images or the training again was not computed again"
        )
    return sound


def _readme_faults() -> Iterator[str]:
    """What is wrong with the README's results."""
    try:
        readme.check()
    except UserError as error:
        yield str(error)


def settings(reports: Path) -> config.Compare:
    """The parameters of the comparison with which `reports` was made: those in its provenance.json.

    Raises:
        UserError: the file is absent, or has none that are valid.
    """
    path = reports / "provenance.json"
    try:
        return config.Compare(**files.read_json(path)["parameters"]["compare"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"{len(error.errors())} keys are wrong" if isinstance(error, ValidationError) else repr(error)
        raise UserError(
            f"{paths.relative(path)} does not say the parameters of the comparison, under parameters.compare ({what}). "
            f"{records.RESTORE}"
        ) from None


def expected(reports: Path) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """What follows from the predictions under `reports`: the tables by chapter/name, and the blocks of metrics.json.

    Raises:
        UserError: a model has no predictions, or a file beside them is absent or breaks the format.
    """
    run, parameters = records.of_report(reports), settings(reports)
    compared = study.tables(run, parameters)
    found = {f"compare/{name}": table for name, table in compared.items()}
    trained = {}
    for model, table in run.models.items():
        test = predictions.select(table, "test")
        labels, probabilities = predictions.labels(test), metrics.softmax(predictions.logits(test))
        confusion = classification.confusion_table(model, labels, probabilities.argmax(axis=1))
        found[f"train/{model}/confusion"] = confusion
        found[f"train/{model}/classification_report"] = classification.report_by_class(labels, probabilities)
        trained[model] = metrics.summary(labels, probabilities)
    outside = _outside(reports, parameters, compared["comparison"])
    found |= {f"external/{name}": table for name, table in outside.items()}
    return found, {"compare": comparison.metrics(compared), "train": trained}


def _outside(reports: Path, parameters: config.Compare, compared: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of notebook 07 that follow from the external predictions under `reports`; none if there are none.

    What the network of each fold scores by itself does not follow from them: that table is taken as it is.

    Raises:
        UserError: a file of the external predictions, or the table of the folds, is absent or breaks the format.
    """
    folder = reports / "predictions" / "external"
    if not (folder / external.GROUND_TRUTH).exists():
        return {}
    path = reports / "tables" / "external" / "folds.csv"
    try:
        folds = pd.read_csv(path)[["model", "fold", "balanced_accuracy"]]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{paths.relative(path)} cannot be read ({error}). {records.RESTORE}") from None
    # As the notebook has the comparison: from the file, where numbers have six digits.
    return external.tables(folder, folds, pd.read_csv(io.BytesIO(files.csv_bytes(compared))), parameters)


def differences(reports: Path) -> Iterator[tuple[str, list[str]]]:
    """Each published file with what is wrong in it, one message per fault; [] where nothing is.

    Raises:
        UserError: as `expected`.
    """
    found, scores = expected(reports)
    for key, table in found.items():
        chapter, _, name = key.rpartition("/")
        tables.table(chapter, name).check(table.columns)
        path = reports / "tables" / chapter / f"{name}.csv"
        yield paths.relative(path), table_faults(path, table)
    for chapter in CHAPTERS:
        for path in sorted((reports / "tables" / chapter).glob("*")):
            if f"{chapter}/{path.stem}" not in found:
                name = paths.relative(path)
                yield name, [f"{name}: no table of this name follows from the predictions"]
    yield paths.relative(reports / "metrics.json"), metrics_faults(reports / "metrics.json", scores)


def table_faults(path: Path, table: pd.DataFrame) -> list[str]:
    """Where the CSV file `path` differs from `table`: file, row, column, both values."""
    name = paths.relative(path)
    text = {"dtype": str, "keep_default_na": False}
    try:
        published = pd.read_csv(path, **text)
    except FileNotFoundError:
        return [f"{name}: does not exist"]
    except ValueError as error:
        return [f"{name}: is not CSV ({error})"]
    # The recomputed table goes through the same text form, so that both sides have the same types.
    recomputed = pd.read_csv(io.BytesIO(files.csv_bytes(table)), **text)
    if list(published.columns) != list(recomputed.columns):
        return [f"{name}: has the columns {', '.join(published.columns)}; computed: {', '.join(recomputed.columns)}"]
    if len(published) != len(recomputed):
        return [f"{name}: has {len(published)} rows; computed: {len(recomputed)}"]
    faults = []
    for column in recomputed:
        numeric = pd.api.types.is_float_dtype(table[column])
        for row in np.flatnonzero(published[column].to_numpy() != recomputed[column].to_numpy()):
            found, value = published[column][row], recomputed[column][row]
            if not _same(found, value, numeric) and not (value == "" and _without_width(published.loc[row], column)):
                faults.append((row, f"{name}, row {row + 1}, column {column}: published {found!r}, computed {value!r}"))
    return [text for _, text in sorted(faults, key=lambda fault: fault[0])]


def _without_width(row: pd.Series, column: str) -> bool:
    """Whether `column` is an end of a published interval that has no width.

    Where such an interval rests on one lesion, none is computed any more; a report from before has it.
    """
    for end, other in (("low", "high"), ("high", "low")):
        if column.endswith(end):
            return row[column] == row.get(column.removesuffix(end) + other)
    return False


def metrics_faults(path: Path, scores: dict[str, Any]) -> list[str]:
    """Where the blocks of the JSON file `path` differ from those of `scores`: file, model, metric, both values."""
    name = paths.relative(path)
    try:
        content = files.read_json(path)
    except FileNotFoundError:
        return [f"{name}: does not exist"]
    except ValueError as error:
        return [f"{name}: is not JSON ({error})"]
    if not isinstance(content, dict) or not set(scores) <= set(content):
        return [f"{name}: has no block {' or no block '.join(map(repr, scores))}"]
    published, computed = (_flat({block: own[block] for block in scores}) for own in (content, scores))
    return [
        f"{name}, {key}: published {published.get(key, 'nothing')!r}, computed {computed.get(key, 'nothing')!r}"
        for key in sorted(published.keys() | computed.keys())
        if key not in published
        or key not in computed
        or not _same(str(published[key]), str(computed[key]), numeric=True)
    ]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested maps by their dotted keys."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        path: leaf
        for key, item in value.items()
        for path, leaf in _flat(item, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _same(published: str, computed: str, numeric: bool) -> bool:
    """Whether two values agree: text exactly, numbers within the tolerances."""
    if published == computed:
        return True
    try:
        return numeric and bool(
            np.isclose(float(published), float(computed), rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE)
        )
    except ValueError:
        return False
