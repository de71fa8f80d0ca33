"""From probabilities to decisions: melanoma against the rest, malignant against benign.

The score of an image is the sum of its calibrated probabilities over the classes that a decision is about. An image is
called when its score reaches a threshold. Thresholds are chosen on the validation images of a fold's model and applied
to the test images of the same fold, so that the sensitivity and specificity reported were not chosen on the images that
they describe. NumPy and pandas are all it needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinlesions import calibration, predictions
from skinlesions.dataset.schema import CLASSES, MALIGNANT
from skinlesions.errors import UserError
from skinlesions.intervals import CHUNK_NUMBERS, lesion_resamples, percentile_interval
from skinlesions.metrics import softmax

# What is decided, and the classes for which the answer is yes.
TASKS = {"melanoma": ("mel",), "malignant": MALIGNANT}
TASK_NAMES = {"melanoma": "melanoma against the rest", "malignant": "malignant against benign"}

CRITERIA = ("specificity", "sensitivity")
TARGETS = (0.90, 0.95)

# Where curves are read: false-positive rates of the ROC curve, recalls of the precision-recall curve.
GRID = np.linspace(0, 1, 101)

# Threshold probabilities of the net benefit. Beyond .60 one would leave a lesion that is malignant rather than benign.
THRESHOLDS = np.arange(1, 61) / 100

ENSEMBLE = "ensemble"

# Names the members of the ensemble, if they are all models.
ALL = "all"

# What the product of a share and a number of images may be off by.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Part:
    """The images of one split, scored.

    Attributes:
        labels: the true class, int64 [N], positions in CLASSES.
        groups: the lesion, [N].
        fold: the fold whose model scored the image, int64 [N].
        probabilities: calibrated, float64 [N, 7].
    """

    labels: np.ndarray
    groups: np.ndarray
    fold: np.ndarray
    probabilities: np.ndarray


def part(table: pd.DataFrame, split: str) -> Part:
    """The test or val rows of the predictions `table`, calibrated with the temperatures of their folds."""
    rows = predictions.select(table, split)
    temperatures = rows["fold"].map(calibration.fold_temperatures(table)).to_numpy(dtype=np.float64)
    return Part(
        labels=predictions.labels(rows),
        groups=rows["group"].to_numpy(),
        fold=rows["fold"].to_numpy(),
        probabilities=softmax(predictions.logits(rows) / temperatures[:, None]),
    )


def mean_part(parts: Sequence[Part]) -> Part:
    """The ensemble of `parts`, which are of the same images: the mean of their probabilities."""
    first = parts[0]
    return Part(first.labels, first.groups, first.fold, np.mean([one.probabilities for one in parts], axis=0))


def positives(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Whether each image is of one of `classes`, bool [N], from its class, int [N]."""
    return np.isin(labels, [CLASSES.index(name) for name in classes])


def scores(probabilities: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """The probability that an image is of one of `classes`, float64 [N], from probabilities [N, 7]."""
    total = np.asarray(probabilities, dtype=np.float64)[:, [CLASSES.index(name) for name in classes]].sum(axis=1)
    return np.minimum(total, 1)  # a sum of three may exceed it by rounding


# --- counts under many weightings -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counts:
    """What is called at every possible threshold under R weightings of the images.

    Attributes:
        thresholds: the distinct scores, float64 [K], descending.
        true: the weight of the positive images with a score of at least each threshold, float64 [R, K + 1];
            the first column, for a threshold above all scores, is 0.
        false: the same of the negative images.
    """

    thresholds: np.ndarray
    true: np.ndarray
    false: np.ndarray


def counts(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> Counts:
    """What is called at every threshold.

    Args:
        positive: bool [N].
        score: float [N].
        weights: how often each image counts, [R, N], not negative. Memory: about four float64 arrays of this shape.

    Raises:
        ValueError: the shapes disagree or there are no images.
    """
    positive, score, weights = np.asarray(positive, dtype=bool), np.asarray(score), np.asarray(weights)
    if score.ndim != 1 or len(score) == 0 or positive.shape != score.shape or weights.shape[1:] != score.shape:
        raise ValueError(
            f"positive {positive.shape}, scores {score.shape} and weights {weights.shape} must be [N], [N] and [R, N] "
            "with N > 0"
        )
    order = np.argsort(-score, kind="stable")
    descending = score[order]
    ends = np.append(np.flatnonzero(np.diff(descending)), len(score) - 1)  # the last image of every distinct score
    sorted_weights = np.take(weights, order, axis=1)
    called, true = np.zeros((2, len(weights), len(ends) + 1))
    called[:, 1:] = np.cumsum(sorted_weights, axis=1, dtype=np.float64)[:, ends]
    true[:, 1:] = np.cumsum(sorted_weights * positive[order], axis=1, dtype=np.float64)[:, ends]
    return Counts(descending[ends], true, called - true)


def auc(found: Counts) -> np.ndarray:
    """The area under the ROC curve, float64 [R]; NaN without both kinds of image."""
    widths, heights = np.diff(found.false, axis=1), found.true[:, 1:] + found.true[:, :-1]
    return _ratio(np.einsum("rk,rk->r", widths, heights) / 2, found.true[:, -1] * found.false[:, -1])


def average_precision(found: Counts) -> np.ndarray:
    """The mean of the precisions at all thresholds, weighted by the recall gained there, float64 [R].

    This is scikit-learn's average precision, which does not interpolate between thresholds; NaN without positives.
    """
    precision = _ratio(found.true[:, 1:], found.true[:, 1:] + found.false[:, 1:])
    gained = np.diff(found.true, axis=1)
    return _ratio(np.einsum("rk,rk->r", np.nan_to_num(precision), gained), found.true[:, -1])


def roc(found: Counts, grid: np.ndarray = GRID) -> np.ndarray:
    """The sensitivity at the false-positive rates of `grid` [G], float64 [R, G].

    Between two thresholds the curve is a straight line, and where it is vertical its upper end counts.
    """
    sensitivity = _ratio(found.true, found.true[:, -1:])
    alarms = _ratio(found.false, found.false[:, -1:])
    values = np.stack([np.interp(grid, x, y) for x, y in zip(alarms, sensitivity, strict=True)])
    values[np.isnan(alarms[:, -1]) | np.isnan(sensitivity[:, -1])] = np.nan
    return values


def precision_recall(found: Counts, grid: np.ndarray = GRID) -> np.ndarray:
    """The precision at the highest threshold whose recall reaches each value of `grid` [G], float64 [R, G].

    At a recall of 0 it is that of the highest threshold at which a positive image is called.
    """
    values = np.full((len(found.true), len(grid)), np.nan)
    precision = _ratio(found.true, found.true + found.false)
    for row, true in enumerate(found.true):
        if true[-1] > 0:
            # Less than any image weighs, so that rounding in grid × total never asks for one image more.
            wanted = np.maximum(grid * true[-1] * (1 - 1e-12), np.finfo(np.float64).tiny)
            values[row] = precision[row, np.searchsorted(true, wanted, side="left")]
    return values


def net_benefit(found: Counts, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    """The net benefit of calling the images whose score reaches each of `thresholds` [T], float64 [R, T].

    True positives less false positives times the odds of the threshold, per image (Vickers & Elkin, "Decision curve
    analysis", Med Decis Making 26, 2006). The odds are what a user who acts at that probability takes a false alarm
    to cost, in true positives.
    """
    reached = np.searchsorted(-found.thresholds, -np.asarray(thresholds), side="right")
    total = found.true[:, -1:] + found.false[:, -1:]
    return _ratio(found.true[:, reached] - found.false[:, reached] * _odds(thresholds), total)


def treat_all(found: Counts, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    """The net benefit of calling every image, float64 [R, T]; that of calling none is 0."""
    total = found.true[:, -1:] + found.false[:, -1:]
    return _ratio(found.true[:, -1:] - found.false[:, -1:] * _odds(thresholds), total)


AREAS = {"auc": auc, "average_precision": average_precision}
CURVES = {"roc": roc, "precision_recall": precision_recall, "net_benefit": net_benefit, "treat_all": treat_all}


def resampled(
    positive: np.ndarray, score: np.ndarray, weights: np.ndarray, wanted: Sequence[str] = (*AREAS, *CURVES)
) -> dict[str, np.ndarray]:
    """What is `wanted` of AREAS, float64 [R] each, and CURVES, float64 [R, G or T] each, for R weightings [R, N]."""
    rows = max(1, CHUNK_NUMBERS // max(1, len(score)))
    known = AREAS | CURVES
    parts = []
    for start in range(0, len(weights), rows):
        found = counts(positive, score, weights[start : start + rows])
        parts.append([known[name](found) for name in wanted])
    return {name: np.concatenate(values) for name, values in zip(wanted, zip(*parts, strict=True), strict=True)}


# --- thresholds and operating points ----------------------------------------------------------------------------


def threshold(positive: np.ndarray, score: np.ndarray, criterion: str, target: float) -> float:
    """The threshold at which the images reach the `target` of the `criterion`, with as much of the other as it leaves.

    Args:
        positive: bool [N].
        score: float [N]; an image is called if its score is at least the threshold.
        criterion: `specificity`: the lowest threshold that has it; `sensitivity`: the highest that has it.
        target: 0 to 1.

    Returns:
        One of the scores, or infinity where only calling nothing is specific enough.

    Raises:
        ValueError: an unknown criterion, or there are not both kinds of image.
    """
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, not {criterion!r}")
    found = counts(positive, score, np.ones((1, len(score))))
    true, false = found.true[0], found.false[0]
    if true[-1] == 0 or false[-1] == 0:
        raise ValueError("a threshold needs positive and negative images")
    candidates = np.append(np.inf, found.thresholds)
    # 90 % of 10 images are 9, whatever the rounding of 0.9.
    if criterion == "specificity":
        return float(candidates[np.flatnonzero(false <= (1 - target) * false[-1] + ROUNDING)[-1]])
    return float(candidates[np.flatnonzero(true >= target * true[-1] - ROUNDING)[0]])


def fold_thresholds(val: Part, classes: Sequence[str], criterion: str, target: float) -> dict[int, float]:
    """The threshold of every fold's model, chosen on its validation images alone.

    Raises:
        UserError: the validation images of a fold are all of one kind.
    """
    positive, score = positives(val.labels, classes), scores(val.probabilities, classes)
    chosen = {}
    for fold in np.unique(val.fold):
        rows = val.fold == fold
        if positive[rows].all() or not positive[rows].any():
            raise UserError(
                f"the validation images of model {fold} are all of one kind ({' or '.join(classes)}, or not), which "
                "leaves no threshold to choose; use more images or fewer folds"
            )
        chosen[int(fold)] = threshold(positive[rows], score[rows], criterion, target)
    return chosen


def called(test: Part, classes: Sequence[str], thresholds: dict[int, float]) -> np.ndarray:
    """Whether each test image reaches the threshold of the model that tests it, bool [N]."""
    limits = np.array([thresholds[int(fold)] for fold in test.fold])
    return scores(test.probabilities, classes) >= limits


def rates(positive: np.ndarray, is_called: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sensitivity and the specificity of calling `is_called`, under R weightings, float64 [R] each.

    Args:
        positive: bool [N].
        is_called: bool [N].
        weights: how often each image counts, whole numbers [R, N].
    """
    kinds = np.stack([positive, ~positive, positive & is_called, ~positive & ~is_called], axis=1)
    # Whole numbers below 2^24, which single precision holds exactly, whatever the order of a sum.
    true, false, hit, spared = (np.asarray(weights, dtype=np.float32) @ kinds.astype(np.float32)).T.astype(np.float64)
    return _ratio(hit, true), _ratio(spared, false)


# --- tables -----------------------------------------------------------------------------------------------------


def tables(
    models: dict[str, pd.DataFrame],
    *,
    confidence: float,
    resamples: int,
    seed: int,
    ensemble: Sequence[str] | str = ALL,
    drawn: Sequence[str] | None = None,
) -> dict[str, pd.DataFrame]:
    """Everything about decisions that is tabulated, for every model and, of two models or more, their ensemble.

    - discrimination: model, task, images, positives; auc and average_precision with intervals.
    - operating_points: model, task, criterion, target; the lowest and the highest threshold of the folds; sensitivity
      and specificity on the test images with intervals. The thresholds come from validation images; the intervals are
      of the test images, for these thresholds.
    - curves: model, task, curve (one of CURVES), x, y, low, high. x is the false-positive rate, the recall, or the
      threshold probability.

    Args:
        models: the predictions of every model by its name, of the same images.
        confidence: of every interval, such as 0.95.
        resamples: how many bootstrap resamples of the lesions.
        seed: of the resampling; that of skinlesions.comparison gives the same resamples.
        ensemble: the names of its members, or ALL.
        drawn: whose curves are tabulated; by default the ensemble's, or those of the only model.

    Raises:
        UserError: there is no model, the ensemble has a member that is not a model, or a fold's validation images are
            all of one kind.
    """
    if not models:
        raise UserError("there are no predictions to decide on; name at least one model")
    members = sorted(models) if ensemble == ALL else sorted(ensemble)
    if unknown := sorted(set(members) - set(models)):
        raise UserError(f"the ensemble has the member {unknown[0]!r}, which is not among {', '.join(models)}")
    test, val = ({name: part(table, split) for name, table in models.items()} for split in ("test", "val"))
    if len(members) > 1:
        for parts in (test, val):
            parts[ENSEMBLE] = mean_part([parts[name] for name in members])
    names = sorted(models) + [ENSEMBLE] * (len(members) > 1)
    drawn = [names[-1]] if drawn is None else list(drawn)
    first = test[names[0]]
    weights = lesion_resamples(first.groups, first.labels, resamples, seed)
    # The plain estimate is the resample in which every image counts once.
    weights = np.vstack([np.ones_like(weights[:1]), weights]).astype(np.float32)

    rows: dict[str, list] = {"discrimination": [], "operating_points": [], "curves": []}
    for name in names:
        for task, classes in TASKS.items():
            positive = positives(test[name].labels, classes)
            wanted = (*AREAS, *CURVES) if name in drawn else tuple(AREAS)
            values = resampled(positive, scores(test[name].probabilities, classes), weights, wanted)
            head = {"model": name, "task": task}
            sizes = {"images": len(positive), "positives": int(positive.sum())}
            areas = [_with_interval(metric, values[metric], confidence) for metric in AREAS]
            rows["discrimination"].append(head | sizes | areas[0] | areas[1])
            for criterion in CRITERIA:
                for target in TARGETS:
                    point = operating_point(test[name], val[name], classes, criterion, target, weights, confidence)
                    rows["operating_points"].append(head | point)
            if name in drawn:
                rows["curves"].append(_curves(name, task, values, confidence))
    return {
        "discrimination": pd.DataFrame(rows["discrimination"]),
        "operating_points": pd.DataFrame(rows["operating_points"]),
        "curves": pd.concat(rows["curves"], ignore_index=True),
    }


def operating_point(
    test: Part,
    val: Part,
    classes: Sequence[str],
    criterion: str,
    target: float,
    weights: np.ndarray,
    confidence: float,
) -> dict[str, str | float]:
    """One row of `tables()["operating_points"]`; the first row of `weights` [R + 1, N] counts every image once."""
    chosen = fold_thresholds(val, classes, criterion, target)
    found = rates(positives(test.labels, classes), called(test, classes, chosen), weights)
    row = {"criterion": criterion, "target": target}
    row |= {"threshold_min": min(chosen.values()), "threshold_max": max(chosen.values())}
    for metric, values in zip(("sensitivity", "specificity"), found, strict=True):
        row |= _with_interval(metric, values, confidence)
    return row


def _with_interval(name: str, values: np.ndarray, confidence: float) -> dict[str, float]:
    """The estimate, first of `values` [R + 1], and the interval of the others."""
    low, high = percentile_interval(values[1:], confidence)
    return {name: float(values[0]), f"{name}_low": low, f"{name}_high": high}


def _curves(model: str, task: str, values: dict[str, np.ndarray], confidence: float) -> pd.DataFrame:
    """The curves of one model and task in long form, with a band of pointwise intervals."""
    levels = [(1 - confidence) / 2, (1 + confidence) / 2]
    pieces = []
    for curve in CURVES:
        # Resamples without a positive image have no curve; nanquantile leaves them out.
        low, high = np.nanquantile(values[curve][1:], levels, axis=0)
        x = GRID if curve in ("roc", "precision_recall") else THRESHOLDS
        columns = {"model": model, "task": task, "curve": curve, "x": x, "y": values[curve][0]}
        pieces.append(pd.DataFrame(columns | {"low": low, "high": high}))
    return pd.concat(pieces, ignore_index=True)


def _odds(thresholds: np.ndarray) -> np.ndarray:
    """p / (1 - p) of every threshold probability."""
    thresholds = np.asarray(thresholds, dtype=np.float64)
    return thresholds / (1 - thresholds)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """`numerator` / `denominator`, NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)
