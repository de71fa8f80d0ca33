"""Every table of notebook 04, from the models' out-of-fold predictions and the images' metadata alone.

The notebook reads them from data/, `make verify` from reports/; both call `tables`, and that is why what is published
can be checked without images, weights or a GPU.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinlesions.core import files, paths
from skinlesions.core.errors import UserError
from skinlesions.core.names import ALWAYS_NV, ENSEMBLE, STACKED, leading
from skinlesions.data import balancing, predictions
from skinlesions.evaluation import (
    ablations,
    bootstrap,
    calibration,
    comparison,
    ensembles,
    operating_points,
    pairwise,
    selective,
    subgroups,
)
from skinlesions.evaluation.metrics import softmax

# What is published beside the predictions.
DESCRIPTIONS = "models.json"
PLAN = "plan.json"
METADATA = "metadata.csv"

MAKE, RESTORE = "`dvc repro` makes it.", "Restore reports/ from Git."


@dataclass(frozen=True)
class Study:
    """What was predicted, by what, of whom.

    Attributes:
        models: the predictions of every model by its name, as skinlesions.data.predictions.read returns them.
        descriptions: by model, the keys of skinlesions.models.networks.Description.
        plan: what was done against the imbalance when they were trained.
        metadata: of the images, as skinlesions.evaluation.subgroups.read_metadata returns it.
    """

    models: dict[str, pd.DataFrame]
    descriptions: dict[str, dict[str, Any]]
    plan: balancing.Plan
    metadata: pd.DataFrame


def of_run(data: Path, models: Iterable[str]) -> Study:
    """What the stages before the comparison left in the folder `data`, of the given models.

    Raises:
        UserError: the predictions of a model break the format.
    """
    names = list(models)
    return Study(
        models={name: predictions.read(data / "train" / name / "predictions.csv") for name in names},
        descriptions={name: _readable(data / "train" / name / "model.json", files.read_json, MAKE) for name in names},
        plan=_readable(data / "balance" / "plan.json", balancing.read, MAKE),
        metadata=subgroups.metadata_table(_readable(data / "prepared" / "index.csv", _read_index, MAKE)),
    )


def of_report(reports: Path) -> Study:
    """What a published report has.

    Raises:
        UserError: there are no predictions, or a file beside them is absent or breaks the format.
    """
    folder = reports / "predictions"
    found = {path.name.removesuffix(".csv.gz"): path for path in sorted(folder.glob("*.csv.gz"))}
    if not found:
        raise UserError(
            f"{paths.relative(folder)} has no MODEL.csv.gz. Run `make report`, or restore reports/ from Git."
        )
    return Study(
        models={name: predictions.read(path) for name, path in found.items()},
        descriptions=_readable(folder / DESCRIPTIONS, files.read_json, RESTORE),
        plan=_readable(folder / PLAN, balancing.read, RESTORE),
        metadata=subgroups.read_metadata(folder / METADATA),
    )


def tables(
    study: Study,
    *,
    confidence: float,
    interval_method: str,
    resamples: int,
    test_resamples: int,
    seed: int,
    ensemble: Sequence[str] | str,
    calibrated_by: str,
) -> dict[str, pd.DataFrame]:
    """Every table by its name; what each holds is said where it is made.

    - comparison, differences, classes, confusion, folds, claims: comparison.tables, with a row for the
      mean of the ensemble's temperature-scaled members, and one for their stacking.
    - transfer: evaluation.ablations.table. ensembles, ensemble_weights, ensemble_spreads: evaluation.ensembles.
    - calibration, class_calibration, reliability: evaluation.calibration.tables. temperatures: per model and
      fold.
    - discrimination, operating_points, curves: skinlesions.evaluation.operating_points.tables.
    - groups, group_scores, group_differences, nevi: skinlesions.evaluation.subgroups.tables, of `leading`'s last.
    - coverage_curves, coverage_areas, coverage_classes: skinlesions.evaluation.selective.tables, of the same, scaled by
      temperature.

    Args:
        study: what was predicted.
        confidence: of every interval, such as 0.95.
        interval_method: of the scores and their differences, one of bootstrap.METHODS; bands of curves, groups and
            calibration errors are percentile ones.
        resamples: how many bootstrap resamples of the lesions, the same for every model and statistic.
        test_resamples: how many for the differences, whose p-values, times the number of pairs, need more.
        seed: of the resampling.
        ensemble: the names of its members, or ensembles.ALL.
        calibrated_by: which of calibration.WAYS makes the probabilities of the decisions.

    Raises:
        UserError: there is no model, one has a reserved name, the ensemble has a member that is not a model, or the
            models were not tested on the same images and folds.
    """
    _check(study.models)
    # In one order, so that the tables do not depend on how the models were given.
    models = dict(sorted(study.models.items()))
    members = ensembles.members(ensemble, models)
    truth = ensembles.shared_rows(models, "test")
    labels, groups = predictions.labels(truth), truth["group"].to_numpy()
    weights = bootstrap.lesion_resamples(groups, labels, resamples, seed)

    answering = {name: softmax(predictions.logits(predictions.select(table, "test"))) for name, table in models.items()}
    scaled = {
        name: {way: calibration.probabilities(table, "test", way, study.plan) for way in calibration.WAYS}
        for name, table in models.items()
    }
    descriptions = dict(study.descriptions)
    together: dict[str, pd.DataFrame] = {}
    if len(members) > 1:
        built = ensembles.build({name: models[name] for name in members}, study.plan)
        scaled[ENSEMBLE] = {way: np.mean([scaled[name][way] for name in members], axis=0) for way in calibration.WAYS}
        answering |= {ENSEMBLE: scaled[ENSEMBLE]["temperature"]}
        answering |= {STACKED: built.probabilities["stacked_rebalanced"]}
        descriptions[ENSEMBLE] = {"training": f"mean of {len(members)} models"}
        descriptions[STACKED] = {"training": f"stacked on {len(members)} models"}
        together["ensembles"] = ensembles.compare(built, weights, confidence=confidence, method=interval_method)
        together |= {"ensemble_weights": built.weights, "ensemble_spreads": built.spreads}

    answers = {name: own.argmax(axis=1) for name, own in answering.items()}
    tested = bootstrap.lesion_resamples(groups, labels, test_resamples, seed)
    scores = pairwise.compare(labels, answers, groups, tested, confidence, interval_method)
    del tested
    compared = comparison.tables(truth, answering, weights, scores, descriptions)
    shown = leading(compared["comparison"]["model"].tolist())

    parts = {
        name: (
            operating_points.part(table, "test", scaled[name][calibrated_by]),
            operating_points.part(table, "val", calibration.probabilities(table, "val", calibrated_by, study.plan)),
        )
        for name, table in models.items()
    }
    if len(members) > 1:
        parts[ENSEMBLE] = tuple(
            replace(own[0], probabilities=np.mean([part.probabilities for part in own], axis=0))
            for own in zip(*(parts[name] for name in members), strict=True)
        )
    last = shown[-1]
    # Groups and selection are about the answers of the comparison; scaling by class would give others.
    by_group = subgroups.scored(*parts[last], truth["image_id"], study.metadata, predicted=answers[last])
    voices = np.stack([scaled[name]["temperature"] for name in (members if last == ENSEMBLE else [last])])
    return (
        compared
        | together
        | {"transfer": ablations.table(study.descriptions, scores), "temperatures": _temperatures(models)}
        | calibration.tables(labels, scaled, weights, confidence, shown)
        | operating_points.tables(parts, weights, confidence, shown)
        | subgroups.tables(by_group, weights, confidence)
        | selective.tables(labels, voices.mean(axis=0), selective.certainties(voices), weights, confidence)
    )


def _check(models: dict[str, pd.DataFrame]) -> None:
    """Refuse no models, and names that the tables add rows of."""
    if not models:
        raise UserError("there are no predictions to compare; name at least one model")
    for name in (ENSEMBLE, STACKED, ALWAYS_NV):
        if name in models:
            raise UserError(f"a model cannot be called {name!r}: the comparison adds a row of that name")


def _temperatures(models: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The temperature of every fold's network."""
    rows = [
        (name, fold, value)
        for name in sorted(models)
        for fold, value in sorted(calibration.fold_temperatures(models[name]).items())
    ]
    return pd.DataFrame(rows, columns=["model", "fold", "temperature"])


def _read_index(path: Path) -> pd.DataFrame:
    """The index of the prepared images; an unknown age is NaN."""
    return pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False, na_values={"age": [""]})


def _readable(path: Path, read: Callable[[Path], Any], remedy: str) -> Any:
    """What `read` makes of `path`."""
    try:
        return read(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{paths.relative(path)} cannot be read ({error!r}). {remedy}") from None
