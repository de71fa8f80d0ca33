"""The comparison of models: every table of it, from their out-of-fold predictions alone.

All models are scored on the same images and the same bootstrap resamples of lesions, so that differences are paired.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from skinlesions import calibration, predictions
from skinlesions.classification import confusion_table
from skinlesions.dataset.schema import CLASSES
from skinlesions.errors import UserError
from skinlesions.intervals import bootstrap, holm, lesion_resamples, percentile_interval, two_sided_p_value
from skinlesions.metrics import METRIC_NAMES, METRICS, softmax, summary
from skinlesions.original import CLAIMS

# The mean over its members of their temperature-calibrated probabilities; made of two models or more.
ENSEMBLE = "ensemble"

# Names the members of the ensemble, if they are all models.
ALL = "all"

# What a classifier scores that calls every image a nevus: the floor under every accuracy on these data.
ALWAYS_NV = "always_nv"

INTERVAL_METRICS = ("balanced_accuracy", "accuracy", "macro_f1", "weighted_f1", "macro_auc")
PROBABILITY_METRICS = ("macro_auc", "nll", "brier", "ece")
CALIBRATION_METRICS = ("nll", "brier", "ece")

# What the table says of a model beside its scores.
DESCRIBED = ("training", "initialisation")

# Numbers of a chunk of resamples that are in memory at a time, 8 bytes each.
CHUNK_NUMBERS = 10_000_000

# Columns of the test rows that must be the same for every model.
SHARED_COLUMNS = ("image_id", "lesion_id", "group", "dx", "fold")


def tables(
    models: dict[str, pd.DataFrame],
    *,
    confidence: float,
    resamples: int,
    seed: int,
    test_resamples: int | None = None,
    ensemble: Sequence[str] | str = ALL,
    descriptions: dict[str, dict[str, object]] | None = None,
) -> dict[str, pd.DataFrame]:
    """Everything that notebook 04 tabulates.

    - comparison: one row per model with how it was trained and from which weights, best balanced accuracy first, the
      always-nv reference last.
    - differences: balanced accuracy of `model` less that of `other` for every pair, the better one first, with the
      bootstrap p-value, that adjusted for the number of pairs (Holm), and whether the two models' intervals overlap.
    - recalls: per model and class. confusion: per model, true and predicted class. folds: per model and test fold.
    - calibration: per model, as trained and after temperature scaling. temperatures: per model and fold.
    - claims: the original's figures beside those of the model of the same name.

    Args:
        models: the predictions of every model by its name, as skinlesions.predictions.read returns them.
        confidence: of every interval, such as 0.95.
        resamples: how many bootstrap resamples of the lesions.
        test_resamples: how many for the differences, whose p-values, times the number of pairs, need more; None: as
            many as `resamples`.
        seed: of the resampling.
        ensemble: the names of its members, or ALL.
        descriptions: by model, what the table says of it beside its scores: the keys DESCRIBED.

    Raises:
        UserError: there is no model, a name is reserved, the ensemble has a member that is not a model, or the models
            were not tested on the same images and folds.
    """
    truth = _shared_test_rows(models)
    members = sorted(models) if ensemble == ALL else list(ensemble)
    if unknown := [name for name in members if name not in models]:
        raise UserError(f"the ensemble has the member {unknown[0]!r}, which is not among {', '.join(models)}")
    labels = predictions.labels(truth)
    temperatures = {name: calibration.fold_temperatures(table) for name, table in models.items()}
    calibrated = {name: calibration.calibrated_probabilities(models[name], temperatures[name]) for name in models}
    raw = {name: softmax(predictions.logits(predictions.select(table, "test"))) for name, table in models.items()}
    if len(members) > 1:
        raw[ENSEMBLE] = calibrated[ENSEMBLE] = np.mean([calibrated[name] for name in sorted(members)], axis=0)
    reference = np.tile(np.eye(len(CLASSES))[CLASSES.index("nv")], (len(labels), 1))
    scored = raw | {ALWAYS_NV: reference}

    weights = lesion_resamples(truth["group"].to_numpy(), labels, resamples, seed)
    estimates = {name: summary(labels, scored[name]) for name in scored}
    draws = {name: bootstrap(labels, scored[name], weights) for name in scored}
    intervals = {
        name: {metric: percentile_interval(draws[name][metric], confidence) for metric in METRICS} for name in scored
    }
    tested = lesion_resamples(truth["group"].to_numpy(), labels, test_resamples or resamples, seed)
    more = balanced_accuracies(labels, {name: raw[name].argmax(axis=1) for name in raw}, tested)
    ranked = sorted(raw, key=lambda name: (-round(estimates[name]["balanced_accuracy"], 10), name))
    return {
        "comparison": _comparison([*ranked, ALWAYS_NV], descriptions or {}, len(members), estimates, intervals),
        "differences": _differences(ranked, estimates, more, intervals, confidence),
        "recalls": _recalls(ranked, estimates, intervals, truth),
        "confusion": _confusion(ranked, raw, labels),
        "folds": _folds(ranked, raw, labels, truth["fold"].to_numpy()),
        "calibration": _calibration(ranked, estimates, calibrated, labels),
        "temperatures": pd.DataFrame(
            [(name, fold, temperatures[name][fold]) for name in sorted(models) for fold in sorted(temperatures[name])],
            columns=["model", "fold", "temperature"],
        ),
        "claims": _claims(estimates, intervals),
    }


def metrics(results: dict[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    """The comparison of `tables` as {model: {metric: value}}, six significant digits, undefined ones left out."""
    comparison = results["comparison"].set_index("model").drop(index=ALWAYS_NV, columns=list(DESCRIBED))
    return {
        name: {metric: float(f"{value:.6g}") for metric, value in row.items() if not np.isnan(value)}
        for name, row in comparison.to_dict("index").items()
    }


def readable(table: pd.DataFrame, metrics: Sequence[str], digits: int = 3) -> pd.DataFrame:
    """Some `metrics` of `table` as text: "estimate (low–high)" where there is an interval, "–" where undefined."""

    def text(row: dict[str, float], metric: str) -> str:
        if np.isnan(row[metric]):
            return "–"
        numbers = [f"{row[name]:.{digits}f}" for name in (metric, f"{metric}_low", f"{metric}_high") if name in row]
        # Unbreakable: an interval is read in one piece.
        return (
            numbers[0]
            if len(numbers) == 1
            else f"{numbers[0]}\N{NO-BREAK SPACE}({numbers[1]}\N{WORD JOINER}–\N{WORD JOINER}{numbers[2]})"
        )

    rows = [{METRIC_NAMES[metric]: text(row, metric) for metric in metrics} for row in table.to_dict("records")]
    return pd.DataFrame(rows, index=table.index)


def _shared_test_rows(models: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The test rows without their logits, once it is sure that all models have the same."""
    if not models:
        raise UserError("there are no predictions to compare; name at least one model")
    for name in (ENSEMBLE, ALWAYS_NV):
        if name in models:
            raise UserError(f"a model cannot be called {name!r}: the comparison adds a row of that name")
    first, *others = models
    shared = predictions.select(models[first], "test")[list(SHARED_COLUMNS)]
    for name in others:
        own = predictions.select(models[name], "test")[list(SHARED_COLUMNS)]
        if len(own) != len(shared):
            raise UserError(f"{name} has {len(own)} test images, {first} has {len(shared)}; train both on one split")
        differs = (own != shared).to_numpy()
        if differs.any():
            row, column = np.argwhere(differs)[0]
            raise UserError(
                f"{name} and {first} differ in {SHARED_COLUMNS[column]} at test row {row + 1}: "
                f"{own.iloc[row, column]!r} and {shared.iloc[row, column]!r}; train both on one split"
            )
    return shared


def balanced_accuracies(
    labels: np.ndarray, predicted: dict[str, np.ndarray], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """The balanced accuracy of every model on each resample, float64 [R]: all models and classes in one product.

    Args:
        labels: int [N].
        predicted: by model, the class it answers, int [N].
        weights: how often each image is drawn, [R, N].
    """
    truth = np.eye(len(CLASSES))[labels]
    present = truth.any(axis=0)
    right = [truth * (answers == labels)[:, None] for answers in predicted.values()]
    columns = np.concatenate([truth, *right], axis=1)
    parts = np.array_split(weights, max(1, weights.size // CHUNK_NUMBERS))
    sums = np.concatenate([part.astype(np.float64) @ columns for part in parts])
    drawn, *right = np.split(sums, len(predicted) + 1, axis=1)
    recalls = (part[:, present] / drawn[:, present] for part in right)
    return {name: recall.mean(axis=1) for name, recall in zip(predicted, recalls, strict=True)}


def _comparison(
    names: list[str], descriptions: dict[str, dict[str, object]], members: int, estimates: dict, intervals: dict
) -> pd.DataFrame:
    """One row per model: every overall metric, those of INTERVAL_METRICS with their interval."""
    own = {ENSEMBLE: {"training": f"mean of {members} models"}}
    rows = []
    for name in names:
        known = descriptions.get(name, own.get(name, {}))
        row: dict[str, str | float] = {"model": name, **{key: known.get(key, "–") for key in DESCRIBED}}
        for metric in (*INTERVAL_METRICS, *CALIBRATION_METRICS):
            # A classifier that always gives one answer has no probabilities to score.
            defined = name != ALWAYS_NV or metric not in PROBABILITY_METRICS
            row[metric] = estimates[name][metric] if defined else np.nan
            if metric in INTERVAL_METRICS:
                low, high = intervals[name][metric] if defined else (np.nan, np.nan)
                row |= {f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def _differences(
    ranked: list[str], estimates: dict, draws: dict[str, np.ndarray], intervals: dict, confidence: float
) -> pd.DataFrame:
    """Paired differences of balanced accuracy between all pairs of models."""
    metric = "balanced_accuracy"
    rows = []
    for better, other in combinations(ranked, 2):
        differences = draws[better] - draws[other]
        low, high = percentile_interval(differences, confidence)
        (better_low, better_high), (other_low, other_high) = intervals[better][metric], intervals[other][metric]
        rows.append(
            {
                "model": better,
                "other": other,
                "difference": estimates[better][metric] - estimates[other][metric],
                "low": low,
                "high": high,
                "p_value": two_sided_p_value(differences),
                "intervals_overlap": "yes" if better_low <= other_high and other_low <= better_high else "no",
            }
        )
    columns = ["model", "other", "difference", "low", "high", "p_value", "p_holm", "intervals_overlap"]
    table = pd.DataFrame(rows, columns=[name for name in columns if name != "p_holm"])
    return table.assign(p_holm=holm(table["p_value"].to_numpy(dtype=np.float64)))[columns]


def _recalls(ranked: list[str], estimates: dict, intervals: dict, truth: pd.DataFrame) -> pd.DataFrame:
    """The recall of every class by every model, with the images and lesions that it rests on."""
    images = truth["dx"].value_counts()
    lesions = truth.groupby("dx")["lesion_id"].nunique()
    rows = [
        (name, dx, images.get(dx, 0), lesions.get(dx, 0), estimates[name][metric], *intervals[name][metric])
        for name in ranked
        for dx, metric in ((dx, f"recall_{dx}") for dx in CLASSES)
    ]
    return pd.DataFrame(rows, columns=["model", "dx", "images", "lesions", "recall", "low", "high"])


def _confusion(ranked: list[str], probabilities: dict[str, np.ndarray], labels: np.ndarray) -> pd.DataFrame:
    """The confusion matrices in long form; share is of the images of the true class."""
    parts = [confusion_table(name, labels, probabilities[name].argmax(axis=1)) for name in ranked]
    return pd.concat(parts, ignore_index=True)


def _folds(
    ranked: list[str], probabilities: dict[str, np.ndarray], labels: np.ndarray, fold: np.ndarray
) -> pd.DataFrame:
    """The balanced accuracy on each test fold, over the classes that occur in it."""
    rows = [
        (
            name,
            int(k),
            int((fold == k).sum()),
            summary(labels[fold == k], probabilities[name][fold == k])["balanced_accuracy"],
        )
        for name in ranked
        for k in np.unique(fold)
    ]
    return pd.DataFrame(rows, columns=["model", "fold", "images", "balanced_accuracy"])


def _calibration(
    ranked: list[str], estimates: dict, calibrated: dict[str, np.ndarray], labels: np.ndarray
) -> pd.DataFrame:
    """The calibration of every model as trained and after temperature scaling; the ensemble averages scaled models."""
    rows = []
    for name in ranked:
        scaled = summary(labels, calibrated[name])
        before = estimates[name] if name != ENSEMBLE else dict.fromkeys(CALIBRATION_METRICS, np.nan)
        row: dict[str, str | float] = {"model": name}
        for metric in CALIBRATION_METRICS:
            row |= {metric: before[metric], f"{metric}_scaled": scaled[metric]}
        rows.append(row)
    return pd.DataFrame(rows)


def _claims(estimates: dict, intervals: dict) -> pd.DataFrame:
    """The original's figures beside ours."""
    rows = []
    for claim in CLAIMS:
        ours = estimates.get(claim.model, dict.fromkeys(METRICS, np.nan))
        low, high = intervals.get(claim.model, {}).get("balanced_accuracy", (np.nan, np.nan))
        rows.append(
            {
                "model": claim.model,
                "claimed_accuracy": claim.accuracy,
                "claimed_weighted_f1": claim.weighted_f1,
                "original_balanced_accuracy": claim.balanced_accuracy,
                "original_melanoma_recall": claim.melanoma_recall,
                "our_accuracy": ours["accuracy"],
                "our_weighted_f1": ours["weighted_f1"],
                "our_balanced_accuracy": ours["balanced_accuracy"],
                "our_balanced_accuracy_low": low,
                "our_balanced_accuracy_high": high,
                "our_melanoma_recall": ours["recall_mel"],
                "differs": claim.differs,
            }
        )
    return pd.DataFrame(rows)
