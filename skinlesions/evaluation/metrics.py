"""Metrics of a seven-class classifier, for one sample or for many weighted resamples of it at once.

Everything follows from three things: the true class of every image, its predicted probabilities, and how often the
image counts. A plain estimate is the resample in which every image counts once, so that one implementation serves the
estimates and their bootstrap distributions. NumPy is all it needs.
"""

from collections.abc import Sequence

import numpy as np

from skinlesions.core.classes import CLASSES

CALIBRATION_BINS = 15

# Balanced accuracy comes first everywhere: it is the metric of ISIC 2018 Task 3.
OVERALL_METRICS = ("balanced_accuracy", "accuracy", "macro_f1", "weighted_f1", "macro_auc", "nll", "brier", "ece")
RECALL_METRICS = tuple(f"recall_{name}" for name in CLASSES)
METRICS = OVERALL_METRICS + RECALL_METRICS

# What each class is scored by against the rest; only the recall is among METRICS.
CLASS_METRICS = ("recall", "specificity", "precision", "f1", "auc", "average_precision")
ALL_METRICS = (
    *METRICS,
    "macro_average_precision",
    *(f"{metric}_{name}" for metric in CLASS_METRICS if metric != "recall" for name in CLASSES),
)


def softmax(logits: np.ndarray) -> np.ndarray:
    """The probabilities, float64 [..., C], of `logits` [..., C]; safe for logits of any size."""
    logits = np.asarray(logits, dtype=np.float64)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str] = CLASSES) -> np.ndarray:
    """How many images of class i (rows) were called class j (columns), int64 [C, C], from two int [N] arrays."""
    count = len(classes)
    cells = np.asarray(labels, dtype=np.int64) * count + np.asarray(predicted, dtype=np.int64)
    return np.bincount(cells, minlength=count * count).reshape(count, count)


def summary(
    labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str] = CLASSES, *, by_class: bool = False
) -> dict[str, float]:
    """Every metric of METRICS for one set of predictions; see `weighted_summary` for what each means.

    Args:
        labels: the true class of every image, int [N], positions in `classes`.
        probabilities: float [N, C], rows that sum to 1.
        classes: the names behind the columns.
        by_class: give ALL_METRICS instead.
    """
    once = np.ones((1, len(labels)))
    values = weighted_summary(labels, probabilities, once, classes, by_class=by_class)
    return {name: float(value[0]) for name, value in values.items()}


def weighted_summary(
    labels: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray,
    classes: Sequence[str] = CLASSES,
    *,
    by_class: bool = False,
) -> dict[str, np.ndarray]:
    """Every metric of METRICS, or of ALL_METRICS, under each of R weightings of the images, each float64 [R].

    - balanced_accuracy: mean over classes of the recall. macro_f1: mean over classes of F1. weighted_f1: the same,
      each class counted by its share of the images. All three, and macro_auc, run over the classes that occur among
      the weighted images; the recall of a class that does not occur is NaN.
    - macro_auc: mean over classes of the area under the ROC curve, the class against the rest, ties counted half.
    - nll: mean negative log-likelihood of the true class, in nats, probabilities bounded below by float64's epsilon.
    - brier: mean over images of the squared error summed over classes (Brier 1950: 0 to 2).
    - ece: mean over CALIBRATION_BINS bins of |accuracy - confidence|, weighted by the images in each; the confidence
      is the largest probability, and the bins hold equal numbers of images when each counts once (images of equal
      confidence share a bin). The bins do not move with the weights.

    And with `by_class`, each class against the rest, NaN where a denominator is 0 or a class does not occur:

    - specificity, precision and f1 of the predicted classes; auc, of which macro_auc is the mean.
    - average_precision: the area under the steps of precision over recall, without interpolation: the mean over the
      images of the class of the precision among all images scored as high or higher (Davis & Goadrich, ICML 2006,
      say why lines between the points would flatter). macro_average_precision is their mean.

    Args:
        labels: int [N], positions in `classes`.
        probabilities: float [N, C].
        weights: how often each image counts, [R, N], not negative; whole or not. Memory: about four float64 arrays of
            this shape.
        classes: the names behind the columns.
        by_class: whether to give ALL_METRICS; they take half as long again.

    Raises:
        ValueError: the shapes disagree, there are no images, a label is not a position in `classes`, or a
            probability is not in [0, 1].
    """
    labels, probabilities = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    counts, weights = np.asarray(weights), np.asarray(weights, dtype=np.float64)
    _check(labels, probabilities, weights, len(classes))
    predicted = probabilities.argmax(axis=1)
    total = weights.sum(axis=1)

    cells = labels * len(classes) + predicted
    confusion = _sums(counts, cells, len(classes) ** 2).reshape(-1, len(classes), len(classes))
    hits = np.einsum("rcc->rc", confusion)
    truth, called = confusion.sum(axis=2), confusion.sum(axis=1)
    present = truth > 0
    recall = _ratio(hits, truth)
    f1 = _ratio(2 * hits, truth + called)
    areas = [_areas(labels == k, probabilities[:, k], counts, by_class) for k in range(len(classes))]
    auc, average_precision = (np.stack(area, axis=1) for area in zip(*areas, strict=True))

    nll, brier = _losses(labels, probabilities)
    confidence = probabilities.max(axis=1)
    gaps = _sums(weights * ((labels == predicted) - confidence), equal_mass_bins(confidence), CALIBRATION_BINS)
    values = {
        "balanced_accuracy": _mean(recall, present),
        "accuracy": _ratio(hits.sum(axis=1), total),
        "macro_f1": _mean(f1, present),
        "weighted_f1": _ratio(np.where(present, truth * f1, 0).sum(axis=1), total),
        "macro_auc": _mean(auc, ~np.isnan(auc)),
        "nll": _ratio(np.einsum("rn,n->r", weights, nll), total),
        "brier": _ratio(np.einsum("rn,n->r", weights, brier), total),
        "ece": _ratio(np.abs(gaps).sum(axis=1), total),
        **{f"recall_{name}": recall[:, k] for k, name in enumerate(classes)},
    }
    if not by_class:
        return values
    others = total[:, None] - truth
    scores = {
        "specificity": _ratio(others - (called - hits), others),
        "precision": _ratio(hits, called),
        "f1": f1,
        "auc": auc,
        "average_precision": average_precision,
    }
    values["macro_average_precision"] = _mean(average_precision, ~np.isnan(average_precision))
    return values | {
        f"{metric}_{name}": score[:, k] for metric, score in scores.items() for k, name in enumerate(classes)
    }


def equal_mass_bins(values: np.ndarray, count: int = CALIBRATION_BINS) -> np.ndarray:
    """The bin of each of `values` [N], int64 [N], from 0 for the least to `count` - 1, with about as many in each.

    Equal values share a bin, whatever the order of the rows, so that some bins may be larger and some empty.
    """
    # Equal values take the rank of the first of them.
    rank = np.searchsorted(np.sort(values), values, side="left")
    return rank * count // len(values)


def _check(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, classes: int) -> None:
    """Refuse arrays that do not belong together."""
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"labels must be a non-empty [N] array, not of shape {labels.shape}")
    if probabilities.shape != (len(labels), classes):
        raise ValueError(f"probabilities must be {(len(labels), classes)}, not {probabilities.shape}")
    if weights.ndim != 2 or weights.shape[1] != len(labels):
        raise ValueError(f"weights must be [R, {len(labels)}], not {weights.shape}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be 0 to {classes - 1}, not {labels.min()} to {labels.max()}")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]; softmax makes them from logits")


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """`numerator` / `denominator`, NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The mean over the last axis of those `values` that are `counted`; NaN where none is."""
    return _ratio(np.where(counted, values, 0).sum(axis=-1), counted.sum(axis=-1))


def _sums(values: np.ndarray, kinds: np.ndarray, count: int) -> np.ndarray:
    """The sums of `values` [R, N] over the images of each of `count` kinds, float64 [R, count]; `kinds` is int [N].

    As quick as a matrix product with indicators, exact for whole numbers, and without the threads of a product.
    """
    order = np.argsort(kinds, kind="stable")
    filled, starts = np.unique(kinds[order], return_index=True)
    sums = np.zeros((len(values), count))
    sums[:, filled] = np.add.reduceat(np.take(values, order, axis=1), starts, axis=1, dtype=np.float64)
    return sums


def _losses(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The negative log-likelihood and the Brier score of every image, float64 [N] each."""
    rows = np.arange(len(labels))
    likelihood = np.maximum(probabilities[rows, labels], np.finfo(np.float64).eps)
    truth = np.zeros_like(probabilities)
    truth[rows, labels] = 1
    return -np.log(likelihood), ((probabilities - truth) ** 2).sum(axis=1)


def _areas(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray, both: bool) -> tuple[np.ndarray, np.ndarray]:
    """The areas under the ROC curve and (if `both`, else NaN) under precision and recall, float64 [R] each.

    Args:
        positive: whether each image is of the class, bool [N].
        scores: of that class, float [N].
        weights: [R, N]. Whole numbers are summed as such, which is quicker and exact.
    """
    order = np.argsort(scores, kind="stable")
    ascending = scores[order]
    dtype = np.int64 if weights.dtype.kind in "iu" else np.float64
    cumulative = np.zeros((len(weights), len(scores) + 1), dtype=dtype)
    # np.take, because weights[:, order] gives a transposed array in memory and makes all of this five times slower.
    np.cumsum(np.take(weights, order, axis=1), axis=1, dtype=dtype, out=cumulative[:, 1:])
    auc = _auc(positive, scores, weights, ascending, cumulative)
    if not both:
        return auc, np.full(len(weights), np.nan)
    return auc, _average_precision(positive, scores, weights, ascending, cumulative)


def _auc(
    positive: np.ndarray, scores: np.ndarray, weights: np.ndarray, ascending: np.ndarray, cumulative: np.ndarray
) -> np.ndarray:
    """The area under the ROC curve under every weighting, float64 [R]; NaN without both kinds of image.

    The area is the chance that a positive image outscores a negative one. Summing each positive's weighted rank among
    all images counts the pairs of positives too; by symmetry those are half the squared weight of the positives.
    The rarer kind is the one whose ranks are looked up, which for a seven-class problem saves most of the work.

    Args:
        ascending: the sorted scores [N].
        cumulative: the weight of the images before each place in that order, [R, N + 1].
    """
    positives_are_rarer = 2 * positive.sum() <= len(positive)
    rarer = np.flatnonzero(positive if positives_are_rarer else ~positive)
    below = np.take(cumulative, np.searchsorted(ascending, scores[rarer], side="left"), axis=1)
    below += np.take(cumulative, np.searchsorted(ascending, scores[rarer], side="right"), axis=1)
    rarer_weights = np.take(weights, rarer, axis=1).astype(cumulative.dtype)
    mass = rarer_weights.sum(axis=1)
    pairs = mass * (cumulative[:, -1] - mass)
    wins = (np.einsum("rn,rn->r", rarer_weights, below) - mass**2) / 2
    return _ratio(wins if positives_are_rarer else pairs - wins, pairs)


def _average_precision(
    positive: np.ndarray, scores: np.ndarray, weights: np.ndarray, ascending: np.ndarray, cumulative: np.ndarray
) -> np.ndarray:
    """The area under the steps of precision over recall, float64 [R]; NaN without positive images.

    Recall moves only at the scores of positive images, so that precision is looked up at those alone. The arguments
    are those of `_auc`.
    """
    positives = np.flatnonzero(positive)
    positives = positives[np.argsort(-scores[positives], kind="stable")]
    descending = -scores[positives]
    own = np.take(weights, positives, axis=1).astype(cumulative.dtype)
    hits = np.cumsum(own, axis=1)
    mass = own.sum(axis=1)
    # Images of equal score are called together: the hits are those up to the last of them.
    last = np.searchsorted(descending, descending, side="right") - 1
    if (last != np.arange(len(last))).any():
        hits = np.take(hits, last, axis=1)
    called = cumulative[:, -1:] - np.take(cumulative, np.searchsorted(ascending, -descending, side="left"), axis=1)
    # Where nothing is called, nothing is hit; a positive image that counts is among those called.
    precision = np.divide(hits, np.maximum(called, hits), out=np.zeros(hits.shape), where=hits > 0)
    return _ratio(np.einsum("rn,rn->r", own, precision), mass)
