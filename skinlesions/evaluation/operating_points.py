"""From probabilities to decisions: melanoma against the rest, malignant against benign.

The score of an image is the sum of its probabilities over the classes that a decision is about. An image is called
when its score reaches a threshold. Thresholds are chosen on the validation images of a fold's model and applied to the
test images of the same fold, so that the sensitivity and specificity reported were not chosen on the images that they
describe. Net benefit takes the score at its word: it needs probabilities that are calibrated class by class. NumPy and
pandas are all it needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES, MALIGNANT
from skinlesions.core.errors import UserError
from skinlesions.data import predictions
from skinlesions.evaluation.bootstrap import CHUNK_NUMBERS, percentile_interval

# What is decided, and the classes for which the answer is yes.
TASKS = {"melanoma": ("mel",), "malignant": MALIGNANT}

CRITERIA = ("specificity", "sensitivity")
TARGETS = (0.90, 0.95)

# Where curves are read: false-positive rates of the ROC curve, recalls of the precision-recall curve.
GRID = np.linspace(0, 1, 101)

# Threshold probabilities of the net benefit. Beyond .60 one would leave a lesion that is malignant rather than benign.
THRESHOLDS = np.arange(1, 61) / 100


# What the product of a share and a number of images may be off by.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Part:
    """The images of one split, scored.

    Attributes:
        labels: the true class, int64 [N], positions in CLASSES.
        groups: the lesion, [N].
        fold: the fold whose model scored the image, int64 [N].
        probabilities: float64 [N, 7].
    """

    labels: np.ndarray
    groups: np.ndarray
    fold: np.ndarray
    probabilities: np.ndarray


def part(table: pd.DataFrame, split: str, probabilities: np.ndarray) -> Part:
    """The test or val rows of the predictions `table`, scored with `probabilities`, float [N, 7].

    Raises:
        ValueError: `probabilities` has not one row for each row of predictions.select(table, split).
    """
    rows = predictions.select(table, split)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.shape != (len(rows), len(CLASSES)):
        raise ValueError(
            f"probabilities {probabilities.shape} must be [{len(rows)}, {len(CLASSES)}], {split} row by row"
        )
    return Part(predictions.labels(rows), rows["group"].to_numpy(), rows["fold"].to_numpy(), probabilities)


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
    """What is called at each of K thresholds under R weightings of the images.

    Attributes:
        thresholds: distinct scores, float64 [K], descending, the lowest among them.
        true: the weight of the positive images with a score of at least each threshold, float64 [R, K + 1];
            the first column, for a threshold above all scores, is 0.
        false: the same of the negative images.
    """

    thresholds: np.ndarray
    true: np.ndarray
    false: np.ndarray


def counts(positive: np.ndarray, score: np.ndarray, weights: np.ndarray, *, corners: bool = False) -> Counts:
    """What is called at every distinct score, or at those alone where the ROC curve may turn.

    Args:
        positive: bool [N].
        score: float [N].
        weights: how often each image counts, [R, N], not negative. Memory: about four float64 arrays of this shape.
        corners: leave out the thresholds between which only negative images lie: all along them the ROC curve runs
            straight and precision falls, so that `auc`, `average_precision`, `roc` and `precision_recall` stay the
            same, and are quicker where positive images are few. `net_benefit` needs every threshold.

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
    if corners:
        gained = np.diff(np.cumsum(positive[order])[ends], prepend=0) > 0
        ends = ends[gained | np.append(gained[1:], True)]
    sorted_weights = np.take(weights, order, axis=1)
    called, true = np.zeros((2, len(weights), len(ends) + 1))
    for total, own in ((called, sorted_weights), (true, sorted_weights * positive[order])):
        steps = np.add.reduceat(own, np.append(0, ends[:-1] + 1), axis=1, dtype=np.float64)
        np.cumsum(steps, axis=1, out=total[:, 1:])
    return Counts(descending[ends], true, called - true)


def auc(found: Counts) -> np.ndarray:
    """The area under the ROC curve, float64 [R]; NaN without both kinds of image."""
    widths, heights = np.diff(found.false, axis=1), found.true[:, 1:] + found.true[:, :-1]
    return ratio(np.einsum("rk,rk->r", widths, heights) / 2, found.true[:, -1] * found.false[:, -1])


def average_precision(found: Counts) -> np.ndarray:
    """The mean of the precisions at all thresholds, weighted by the recall gained there, float64 [R].

    This is scikit-learn's average precision, which does not interpolate between thresholds; NaN without positives.
    """
    precision = ratio(found.true[:, 1:], found.true[:, 1:] + found.false[:, 1:])
    gained = np.diff(found.true, axis=1)
    return ratio(np.einsum("rk,rk->r", np.nan_to_num(precision), gained), found.true[:, -1])


def roc(found: Counts, grid: np.ndarray = GRID) -> np.ndarray:
    """The sensitivity at the false-positive rates of `grid` [G], float64 [R, G].

    Between two thresholds the curve is a straight line, and where it is vertical its upper end counts.
    """
    sensitivity = ratio(found.true, found.true[:, -1:])
    alarms = ratio(found.false, found.false[:, -1:])
    values = np.stack([np.interp(grid, x, y) for x, y in zip(alarms, sensitivity, strict=True)])
    values[np.isnan(alarms[:, -1]) | np.isnan(sensitivity[:, -1])] = np.nan
    return values


def precision_recall(found: Counts, grid: np.ndarray = GRID) -> np.ndarray:
    """The precision at the highest threshold whose recall reaches each value of `grid` [G], float64 [R, G].

    At a recall of 0 it is that of the highest threshold at which a positive image is called.
    """
    values = np.full((len(found.true), len(grid)), np.nan)
    precision = ratio(found.true, found.true + found.false)
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
    return ratio(found.true[:, reached] - found.false[:, reached] * _odds(thresholds), total)


def treat_all(found: Counts, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    """The net benefit of calling every image, float64 [R, T]; that of calling none is 0."""
    total = found.true[:, -1:] + found.false[:, -1:]
    return ratio(found.true[:, -1:] - found.false[:, -1:] * _odds(thresholds), total)


def advantage(found: Counts, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    """The net benefit less that of the better default, calling every image or none, float64 [R, T].

    Where its interval lies above 0, the net benefit is measurably above both.
    """
    return net_benefit(found, thresholds) - np.maximum(treat_all(found, thresholds), 0)


AREAS = {"auc": auc, "average_precision": average_precision}
BENEFITS = {"net_benefit": net_benefit, "treat_all": treat_all, "advantage": advantage}
CURVES = {"roc": roc, "precision_recall": precision_recall} | BENEFITS


def resampled(
    positive: np.ndarray, score: np.ndarray, weights: np.ndarray, wanted: Sequence[str] = (*AREAS, *CURVES)
) -> dict[str, np.ndarray]:
    """What is `wanted` of AREAS, float64 [R] each, and CURVES, float64 [R, G or T] each, for R weightings [R, N]."""
    rows = max(1, CHUNK_NUMBERS // max(1, len(score)))
    known, corners = AREAS | CURVES, not set(wanted) & set(BENEFITS)
    parts = []
    for start in range(0, len(weights), rows):
        found = counts(positive, score, weights[start : start + rows], corners=corners)
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
    """The sensitivity and the specificity of calling `is_called`, under R weightings, float64 [R] or [R, P] each.

    Args:
        positive: bool [N].
        is_called: bool [N], or [N, P] for P ways to call.
        weights: how often each image counts, whole numbers [R, N].
    """
    is_called = np.asarray(is_called)
    ways = is_called.reshape(len(positive), -1)
    kinds = np.column_stack([positive, ~positive, positive[:, None] & ways, ~positive[:, None] & ~ways])
    # Whole numbers below 2^24, which single precision holds exactly, whatever the order of a sum.
    sums = (np.asarray(weights, dtype=np.float32) @ kinds.astype(np.float32)).astype(np.float64)
    hit, spared = np.split(sums[:, 2:], 2, axis=1)
    found = ratio(hit, sums[:, :1]), ratio(spared, sums[:, 1:2])
    return found if is_called.ndim > 1 else (found[0][:, 0], found[1][:, 0])


# --- tables -----------------------------------------------------------------------------------------------------


def tables(
    parts: dict[str, tuple[Part, Part]], weights: np.ndarray, confidence: float, drawn: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Everything about decisions that is tabulated, model by model in the order of `parts`.

    - discrimination: model, task, images, positives; auc and average_precision with intervals.
    - operating_points: model, task, criterion, target; the lowest and the highest threshold of the folds; sensitivity
      and specificity on the test images with intervals. The thresholds come from validation images; the intervals are
      of the test images, for these thresholds.
    - curves: of the models drawn; model, task, curve (one of CURVES), x, y, low, high. x is the false-positive rate,
      the recall, or the threshold probability. The intervals hold point by point.

    Args:
        parts: the test and the validation images of every model by its name. All models are of the same test images.
        weights: how often each image counts in each resample of the lesions, whole numbers [R, N].
        confidence: of every interval, such as 0.95.
        drawn: whose curves are tabulated.

    Raises:
        UserError: there is no model, none or an unknown one is drawn, or a fold's validation images are all of one
            kind.
    """
    if not parts:
        raise UserError("there are no predictions to decide on; name at least one model")
    if not drawn or not set(drawn) <= set(parts):
        raise UserError(f"cannot draw the curves of {', '.join(drawn) or 'no model'}; name some of {', '.join(parts)}")
    counted = with_sample(weights)
    rows: dict[str, list] = {"discrimination": [], "operating_points": [], "curves": []}
    for name, (test, val) in parts.items():
        for task, classes in TASKS.items():
            positive = positives(test.labels, classes)
            wanted = (*AREAS, *CURVES) if name in drawn else tuple(AREAS)
            values = resampled(positive, scores(test.probabilities, classes), counted, wanted)
            head = {"model": name, "task": task}
            sizes = {"images": len(positive), "positives": int(positive.sum())}
            areas = [estimated(metric, values[metric], confidence) for metric in AREAS]
            rows["discrimination"].append(head | sizes | areas[0] | areas[1])
            points = operating_points(test, val, classes, counted, confidence)
            rows["operating_points"] += [head | point for point in points]
            if name in drawn:
                rows["curves"].append(_curves(name, task, values, confidence))
    return {
        "discrimination": pd.DataFrame(rows["discrimination"]),
        "operating_points": pd.DataFrame(rows["operating_points"]),
        "curves": pd.concat(rows["curves"], ignore_index=True),
    }


def operating_points(
    test: Part, val: Part, classes: Sequence[str], weights: np.ndarray, confidence: float
) -> list[dict[str, str | float]]:
    """The rows of `tables()["operating_points"]` for one model and task; `weights` as `with_sample` returns them."""
    asked = [(criterion, target) for criterion in CRITERIA for target in TARGETS]
    chosen = [fold_thresholds(val, classes, *point) for point in asked]
    is_called = np.column_stack([called(test, classes, thresholds) for thresholds in chosen])
    found = rates(positives(test.labels, classes), is_called, weights)
    rows = []
    for place, (criterion, target) in enumerate(asked):
        limits = chosen[place].values()
        row = {"criterion": criterion, "target": target, "threshold_min": min(limits), "threshold_max": max(limits)}
        for metric, values in zip(("sensitivity", "specificity"), found, strict=True):
            row |= estimated(metric, values[:, place], confidence)
        rows.append(row)
    return rows


def with_sample(weights: np.ndarray) -> np.ndarray:
    """`weights` [R, N] of resamples after those of the sample itself, in which every image counts once, [R + 1, N].

    What is computed from them is the estimate, then its resamples; `estimated` takes both. Whole numbers in single
    precision, which matrix products are quickest in.
    """
    weights = np.asarray(weights)
    return np.concatenate([np.ones_like(weights[:1], shape=(1, weights.shape[1])), weights]).astype(np.float32)


def estimated(name: str, values: np.ndarray, confidence: float) -> dict[str, float]:
    """The estimate, first of `values` [R + 1], as `name`, and the interval of the others as name_low and name_high."""
    low, high = percentile_interval(values[1:], confidence)
    return {name: float(values[0]), f"{name}_low": low, f"{name}_high": high}


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """`numerator` / `denominator`, broadcast, NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def _curves(model: str, task: str, values: dict[str, np.ndarray], confidence: float) -> pd.DataFrame:
    """The curves of one model and task in long form, with a band of pointwise intervals."""
    levels = [(1 - confidence) / 2, (1 + confidence) / 2]
    pieces = []
    for curve in CURVES:
        # Resamples without a positive image have no curve; nanquantile leaves them out.
        low, high = np.nanquantile(values[curve][1:], levels, axis=0)
        x = THRESHOLDS if curve in BENEFITS else GRID
        columns = {"model": model, "task": task, "curve": curve, "x": x, "y": values[curve][0]}
        pieces.append(pd.DataFrame(columns | {"low": low, "high": high}))
    return pd.concat(pieces, ignore_index=True)


def _odds(thresholds: np.ndarray) -> np.ndarray:
    """p / (1 - p) of every threshold probability."""
    thresholds = np.asarray(thresholds, dtype=np.float64)
    return thresholds / (1 - thresholds)
