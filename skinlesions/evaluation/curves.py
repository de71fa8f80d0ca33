"""Curves over the threshold of a score, under many weightings of the images: ROC, precision and recall, net benefit.

An image is called when its score reaches a threshold. `weighted` has the areas under the first two. NumPy is all it
needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skinlesions.evaluation.weighted import chunks, ratio

# Where curves are read: false-positive rates of the ROC curve, recalls of the precision-recall curve.
GRID = np.linspace(0, 1, 101)

# Threshold probabilities of the net benefit. Beyond .60 one would leave a lesion that is malignant rather than benign.
THRESHOLDS = np.arange(1, 61) / 100


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


def counts(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> Counts:
    """What is called at every distinct score.

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
    for total, own in ((called, sorted_weights), (true, sorted_weights * positive[order])):
        steps = np.add.reduceat(own, np.append(0, ends[:-1] + 1), axis=1, dtype=np.float64)
        np.cumsum(steps, axis=1, out=total[:, 1:])
    return Counts(descending[ends], true, called - true)


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


def _odds(thresholds: np.ndarray) -> np.ndarray:
    """p / (1 - p) of every threshold probability."""
    thresholds = np.asarray(thresholds, dtype=np.float64)
    return thresholds / (1 - thresholds)


BENEFITS = {"net_benefit": net_benefit, "treat_all": treat_all, "advantage": advantage}
CURVES = {"roc": roc, "precision_recall": precision_recall} | BENEFITS


def resampled(
    positive: np.ndarray, score: np.ndarray, weights: np.ndarray, wanted: Sequence[str] = tuple(CURVES)
) -> dict[str, np.ndarray]:
    """What is `wanted` of CURVES, float64 [R, G or T] each, for R weightings [R, N], some at a time."""
    parts = []
    for part in chunks(weights):
        found = counts(positive, score, part)
        parts.append([CURVES[name](found) for name in wanted])
    return {name: np.concatenate(values) for name, values in zip(wanted, zip(*parts, strict=True), strict=True)}
