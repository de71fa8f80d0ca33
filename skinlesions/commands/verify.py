"""Do the published tables follow from the published predictions?

Recomputes every table of notebook 04, and of notebook 07 where an external set was scored, from reports/predictions/
and params.yaml, and compares it with reports/. Needs neither images nor weights, a GPU or TensorFlow.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinlesions.core import config, files, paths
from skinlesions.core.errors import UserError
from skinlesions.evaluation import comparison, external, study

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
    """Whether all published files follow from the predictions; prints one line per file, then the faults."""
    faults: list[str] = []
    count = 0
    for name, found in differences(paths.REPORTS, config.load().compare):
        count += 1
        faults += found
        print(
            f"{'ok  ' if not found else 'FAIL'} {name}" + (f": {len(found)} difference(s)" if found else ""), flush=True
        )
    if not faults:
        print(f"all {count} files follow from the predictions in {paths.relative(paths.REPORTS_PREDICTIONS)}")
        return True
    print(f"{len(faults)} difference(s) between the published files and the predictions, the first {SHOWN} of them:")
    print("\n".join(f"  {fault}" for fault in faults[:SHOWN]))
    print("Run `make report` to publish again, or restore reports/ from Git.")
    return False


def expected(reports: Path, parameters: config.Compare) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, float]]]:
    """The tables and the metrics that follow from the predictions under `reports`.

    Raises:
        UserError: there are no predictions, or a file beside them is absent or breaks the format.
    """
    tables = study.tables(study.of_report(reports), **parameters.model_dump())
    return tables, comparison.metrics(tables)


def expected_outside(
    reports: Path, parameters: config.Compare, compared: pd.DataFrame
) -> dict[str, pd.DataFrame] | None:
    """The tables of notebook 07 that follow from the external predictions under `reports`; None if there are none.

    What the network of each fold scores by itself does not follow from them: that table is taken as it is.

    Args:
        reports: the published report.
        parameters: of the comparison.
        compared: the table `comparison` of notebook 04.

    Raises:
        UserError: a file of the external predictions, or the table of the folds, is absent or breaks the format.
    """
    folder = reports / "predictions" / "external"
    if not (folder / external.GROUND_TRUTH).exists():
        return None
    path = reports / "tables" / "external" / "folds.csv"
    try:
        folds = pd.read_csv(path)[["model", "fold", "balanced_accuracy"]]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{paths.relative(path)} cannot be read ({error}). Restore reports/ from Git.") from None
    return external.tables(
        folder,
        folds,
        # As the notebook has it: from the file, where numbers have six digits.
        pd.read_csv(io.BytesIO(files.csv_bytes(compared))),
        confidence=parameters.confidence,
        resamples=parameters.resamples,
        seed=parameters.seed,
        method=parameters.interval_method,
    )


def differences(reports: Path, parameters: config.Compare) -> Iterator[tuple[str, list[str]]]:
    """Each published file with what is wrong in it, one message per fault; [] where nothing is.

    Raises:
        UserError: as `expected` and `expected_outside`.
    """
    tables, metrics = expected(reports, parameters)
    yield from _of_chapter(reports / "tables" / "compare", tables)
    yield paths.relative(reports / "metrics.json"), metrics_faults(reports / "metrics.json", metrics)
    outside = expected_outside(reports, parameters, tables["comparison"])
    if outside is not None:
        yield from _of_chapter(reports / "tables" / "external", outside)


def _of_chapter(folder: Path, tables: dict[str, pd.DataFrame]) -> Iterator[tuple[str, list[str]]]:
    """Each of `tables` with where its file in `folder` differs, and every file there that is none of them."""
    for name, table in sorted(tables.items()):
        path = folder / f"{name}.csv"
        yield paths.relative(path), table_faults(path, table)
    for path in sorted(folder.glob("*")):
        if path.name not in {f"{name}.csv" for name in tables}:
            yield paths.relative(path), [f"{paths.relative(path)}: no table of this name follows from the predictions"]


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
    return [
        f"{name}, row {row + 1}, column {column}: published {published[column][row]!r}, computed {value!r}"
        for row in range(len(recomputed))
        for column, value in recomputed.loc[row].items()
        if not _same(published[column][row], value, numeric=pd.api.types.is_float_dtype(table[column]))
    ]


def metrics_faults(path: Path, metrics: dict[str, dict[str, float]]) -> list[str]:
    """Where the block "compare" of the JSON file `path` differs from `metrics`: file, model, metric, both values."""
    name = paths.relative(path)
    try:
        content = files.read_json(path)
    except FileNotFoundError:
        return [f"{name}: does not exist"]
    except ValueError as error:
        return [f"{name}: is not JSON ({error})"]
    if not isinstance(content, dict) or "compare" not in content:
        return [f"{name}: has no block 'compare'"]
    published = _flat(content["compare"])
    computed = _flat(metrics)
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
