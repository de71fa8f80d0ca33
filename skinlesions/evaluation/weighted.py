"""Statistics of weighted images: the kernels below metrics, curves, groups and everything else that is resampled.

Every function takes R weightings of the same N images at once: how often each image counts, [R, N]. Resamples of the
lesions are such weightings, and the sample itself is the one in which every image counts once. NumPy is all it needs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from skinlesions.core.classes import CLASSES

CALIBRATION_BINS = 15

# Numbers of a chunk of weightings: what is in memory at a time, about 5 × 8 bytes each.
CHUNK_NUMBERS = 1_000_000


def chunks(weights: np.ndarray, numbers: int = CHUNK_NUMBERS) -> Iterator[np.ndarray]:
    """The weightings [R, N] in order, some `numbers` of them at a time."""
    rows = max(1, numbers // max(1, weights.shape[1]))
    for start in range(0, len(weights), rows):
        yield weights[start : start + rows]


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """`numerator` / `denominator`, broadcast, float64; NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def mean(values: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """The mean over the last axis of those `values` that are `counted`, or that are defined; NaN where none is."""
    counted = ~np.isnan(values) if counted is None else counted
    return ratio(np.where(counted, values, 0).sum(axis=-1), counted.sum(axis=-1))


def sums(values: np.ndarray, kinds: np.ndarray, count: int) -> np.ndarray:
    """The sums of `values` [R, N] over the images of each of `count` kinds, float64 [R, count]; `kinds` is int [N].

    As quick as a matrix product with indicators, exact for whole numbers, and without the threads of a product.
    """
    order = np.argsort(kinds, kind="stable")
    filled, starts = np.unique(kinds[order], return_index=True)
    found = np.zeros((len(values), count))
    found[:, filled] = np.add.reduceat(np.take(values, order, axis=1), starts, axis=1, dtype=np.float64)
    return found


def counts(kinds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weight of the images of every kind, float64 [R, K], where `kinds` [N, K] says which image is of which.

    One matrix product for all kinds, in single precision: whole numbers below 2^24 are exact in it, whatever the order
    of a sum, so that `weights` must be whole.
    """
    indicators = np.asarray(kinds, dtype=np.float32)
    parts = [part.astype(np.float32, copy=False) @ indicators for part in chunks(weights)]
    return np.concatenate(parts).astype(np.float64)


def recalls(labels: np.ndarray, answers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The recall of every class, float64 [R, A, 7], NaN where no image of it counts; `mean` makes balanced accuracy.

    Args:
        labels: the true classes, int [N], positions in CLASSES.
        answers: A answers to every image, int [A, N].
        weights: whole numbers [R, N].
    """
    truth = np.eye(len(CLASSES), dtype=bool)[labels]
    found = counts(np.concatenate([truth, *(truth & (own == labels)[:, None] for own in answers)], axis=1), weights)
    drawn, *right = np.split(found, len(answers) + 1, axis=1)
    return ratio(np.stack(right, axis=1), drawn[:, None])


def rates(positive: np.ndarray, called: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sensitivity and the specificity of calling images, float64 [R] or [R, P] each.

    Args:
        positive: bool [N].
        called: bool [N], or [N, P] for P ways to call.
        weights: whole numbers [R, N].
    """
    called = np.asarray(called)
    ways = called.reshape(len(positive), -1)
    kinds = np.column_stack([positive, ~positive, positive[:, None] & ways, ~positive[:, None] & ~ways])
    found = counts(kinds, weights)
    hit, spared = np.split(found[:, 2:], 2, axis=1)
    both = ratio(hit, found[:, :1]), ratio(spared, found[:, 1:2])
    return both if called.ndim > 1 else (both[0][:, 0], both[1][:, 0])


def losses(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The negative log-likelihood, bounded by float64's epsilon, and the Brier score of every image, float64 [N] each.

    Args:
        labels: int [N].
        probabilities: float64 [N, C].
    """
    likelihood = np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(np.float64).eps)
    truth = np.eye(probabilities.shape[1])[labels]
    return -np.log(likelihood), ((probabilities - truth) ** 2).sum(axis=1)


def answers(probabilities: np.ndarray) -> np.ndarray:
    """The class of the largest of `probabilities` [N, C], int64 [N]; C where several are the largest.

    Such a row is undecided, and so wrong, as the official scorer of the ISIC challenges has it: a choice by the order
    of the classes would be right by chance.
    """
    largest = probabilities == probabilities.max(axis=1, keepdims=True)
    return np.where(largest.sum(axis=1) == 1, largest.argmax(axis=1), probabilities.shape[1])


def equal_mass_bins(values: np.ndarray, count: int = CALIBRATION_BINS) -> np.ndarray:
    """The bin of each of `values` [N], int64 [N], from 0 for the least to `count` - 1, with about as many in each.

    Equal values share a bin, whatever the order of the rows, so that some bins may be larger and some empty.
    """
    # Equal values take the rank of the first of them.
    rank = np.searchsorted(np.sort(values), values, side="left")
    return rank * count // len(values)


def auc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area under the ROC curve, float64 [R], ties counted half; NaN without both kinds of image.

    The arguments are those of `areas`.
    """
    return areas(positive, scores, weights, precision_recall=False)[0]


def areas(
    positive: np.ndarray, scores: np.ndarray, weights: np.ndarray, *, precision_recall: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The areas under the ROC curve and (else NaN) under precision and recall, without interpolation, float64 [R] each.

    Args:
        positive: whether each image is of the class, bool [N].
        scores: of that class, float [N].
        weights: [R, N]. Whole numbers are summed as such, which is quicker and exact.
        precision_recall: whether the second is asked for.
    """
    order = np.argsort(scores, kind="stable")
    ascending = scores[order]
    # The rarer kind is the one whose ranks are looked up, which for a seven-class problem saves most of the work.
    rarer = positive if 2 * positive.sum() <= len(positive) else ~positive
    looked_up = [np.searchsorted(ascending, scores[rarer], side=side) for side in ("left", "right")]
    if precision_recall:
        looked_up.append(np.searchsorted(ascending, scores[positive], side="left"))
    places = np.unique(np.concatenate([[0], *looked_up, [len(scores)]]))
    if len(places) > len(scores) / 3:
        places = np.arange(len(scores) + 1)
    dtype = np.int64 if weights.dtype.kind in "iu" else np.float64
    found = np.full((2, len(weights)), np.nan)
    done = 0
    for part in chunks(weights):
        below = _Below(ascending, places, _cumulative(part, order, places, dtype))
        rows = slice(done, done + len(part))
        found[0, rows] = _auc(positive, rarer, scores, part, below)
        if precision_recall:
            found[1, rows] = _average_precision(positive, scores, part, below)
        done += len(part)
    return found[0], found[1]


@dataclass(frozen=True)
class _Below:
    """The weight of the images before certain places in the order of their scores.

    Attributes:
        ascending: the sorted scores [N].
        places: int [P], ascending, the first 0 and the last N.
        weight: of the images before each place, [R, P].
    """

    ascending: np.ndarray
    places: np.ndarray
    weight: np.ndarray

    def __call__(self, scores: np.ndarray, side: Literal["left", "right"]) -> np.ndarray:
        """The weight of the images that score less than (side left), or no more than, each of `scores` [n], [R, n]."""
        wanted = np.searchsorted(self.ascending, scores, side=side)
        return np.take(self.weight, np.searchsorted(self.places, wanted), axis=1)

    @property
    def all(self) -> np.ndarray:
        """The weight of all images, [R]."""
        return self.weight[:, -1]


def _cumulative(weights: np.ndarray, order: np.ndarray, places: np.ndarray, dtype: type) -> np.ndarray:
    """The weight of the images before each of `places` in `order`, [R, P]: of those between two places, then summed."""
    found: np.ndarray = np.zeros((len(weights), len(places)), dtype=dtype)
    # np.take, because weights[:, order] gives a transposed array in memory and makes all of this five times slower.
    between = np.take(weights, order, axis=1)
    if len(places) <= len(order):
        between = np.add.reduceat(between, places[:-1], axis=1, dtype=dtype)
    np.cumsum(between, axis=1, dtype=dtype, out=found[:, 1:])
    return found


def _auc(positive: np.ndarray, rarer: np.ndarray, scores: np.ndarray, weights: np.ndarray, below: _Below) -> np.ndarray:
    """The area under the ROC curve under every weighting, float64 [R]; NaN without both kinds of image.

    The area is the chance that a positive image outscores a negative one. Summing each positive's weighted rank among
    all images counts the pairs of positives too; by symmetry those are half the squared weight of the positives.

    Args:
        positive: bool [N].
        rarer: `positive` or its opposite, bool [N]; the area of the one is 1 less that of the other.
        scores: float [N].
        weights: [R, N].
        below: has the places of the scores of the rarer kind.
    """
    ranks = below(scores[rarer], "left")
    ranks += below(scores[rarer], "right")
    own = np.take(weights, np.flatnonzero(rarer), axis=1).astype(ranks.dtype)
    mass = own.sum(axis=1)
    pairs = mass * (below.all - mass)
    wins = (np.einsum("rn,rn->r", own, ranks) - mass**2) / 2
    return ratio(wins if rarer is positive else pairs - wins, pairs)


def _average_precision(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray, below: _Below) -> np.ndarray:
    """The area under the steps of precision over recall, float64 [R]; NaN without positive images.

    Recall moves only at the scores of positive images, so that precision is looked up at those alone. `below` has their
    places; the other arguments are those of `areas`.
    """
    positives = np.flatnonzero(positive)
    positives = positives[np.argsort(-scores[positives], kind="stable")]
    descending = -scores[positives]
    own = np.take(weights, positives, axis=1).astype(below.weight.dtype)
    hits = np.cumsum(own, axis=1)
    mass = own.sum(axis=1)
    # Images of equal score are called together: the hits are those up to the last of them.
    last = np.searchsorted(descending, descending, side="right") - 1
    if (last != np.arange(len(last))).any():
        hits = np.take(hits, last, axis=1)
    called = below.all[:, None] - below(-descending, "left")
    # A positive image that counts is among those called. Where nothing is called nothing is hit: 0 by the least number.
    least = 1 if hits.dtype.kind == "i" else np.finfo(hits.dtype).tiny
    precision = hits / np.maximum(np.maximum(called, hits), least)
    return ratio(np.einsum("rn,rn->r", own, precision), mass)
