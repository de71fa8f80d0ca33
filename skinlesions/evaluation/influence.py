"""How much each image moves each metric: what a bias-corrected interval needs to know beside the resamples.

The influence of an image on a statistic is the derivative of the statistic with respect to the image's weight, at
weights of 1. Every metric here has it in closed form, so that the jackknife over thousands of lesions takes
milliseconds where leaving each lesion out in turn would take seconds (Jaeckel 1972; Efron, "The jackknife, the
bootstrap and other resampling plans", 1982, chapter 6). NumPy is all it needs.
"""

import numpy as np

from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import bootstrap, metrics, weighted


def influence(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """The influence of every image on every metric of skinlesions.evaluation.metrics.ALL_METRICS, float64 [N] each.

    The influences on a metric sum to 0, because all of these metrics stay the same when all weights double. Those on
    an undefined metric are NaN. For the calibration error, the bins stay where they are, as they do in a resample.

    Args:
        labels: int [N], positions in CLASSES.
        probabilities: float [N, 7].

    Raises:
        ValueError: as skinlesions.evaluation.metrics.summary does.
    """
    labels, probabilities = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    values = metrics.summary(labels, probabilities, by_class=True)
    predicted = weighted.answers(probabilities)
    present = np.bincount(labels, minlength=len(CLASSES)) > 0

    by_class: dict[str, np.ndarray] = {}
    for k, name in enumerate(CLASSES):
        true, called = labels == k, predicted == k
        by_class |= {
            f"recall_{name}": _of_ratio(true & called, true),
            f"specificity_{name}": _of_ratio(~true & ~called, ~true),
            f"precision_{name}": _of_ratio(true & called, called),
            f"f1_{name}": _of_ratio(2 * (true & called), true * 1 + called),
            f"auc_{name}": _of_auc(true, probabilities[:, k]),
            f"average_precision_{name}": _of_average_precision(true, probabilities[:, k]),
        }

    def of_mean(metric: str) -> np.ndarray:
        """The influence on the mean of `metric` over the classes that have it."""
        rows = [by_class[f"{metric}_{name}"] for k, name in enumerate(CLASSES) if present[k]]
        defined = [row for row in rows if not np.isnan(row).any()]
        return np.mean(defined, axis=0) if defined else np.full(len(labels), np.nan)

    everyone = np.ones(len(labels))
    shares = np.bincount(labels, minlength=len(CLASSES)) / len(labels)
    f1 = np.array([values[f"f1_{name}"] for name in CLASSES])
    of_f1 = [share * by_class[f"f1_{name}"] for share, name in zip(shares, CLASSES, strict=True) if share > 0]
    nll, brier = weighted.losses(labels, probabilities)
    found = {
        "balanced_accuracy": of_mean("recall"),
        "accuracy": _of_ratio(labels == predicted, everyone),
        "macro_f1": of_mean("f1"),
        # More images of a class move its F1, and give it a greater share.
        "weighted_f1": np.sum(of_f1, axis=0) + _of_ratio(f1[labels], everyone),
        "macro_auc": of_mean("auc"),
        "nll": _of_ratio(nll, everyone),
        "brier": _of_ratio(brier, everyone),
        "ece": _of_calibration_error(labels == predicted, probabilities.max(axis=1)),
        "macro_average_precision": of_mean("average_precision"),
    } | by_class
    return {name: found[name] for name in values}


def jackknife(labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
    """The jackknife over the lesions of every metric of ALL_METRICS, float64 [G] each, for `bootstrap.interval`.

    Args:
        labels: int [N], positions in CLASSES.
        probabilities: float [N, 7].
        groups: the lesion of every image, [N].
    """
    # Numbers in the same order, once: they sort quicker than names do.
    _, numbers = np.unique(groups, return_inverse=True)
    return {
        name: bootstrap.lesion_jackknife(values, numbers, labels)
        for name, values in influence(labels, probabilities).items()
    }


def _of_ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The influence on sum(w numerator) / sum(w denominator), float64 [N]; NaN without a denominator."""
    total = denominator.sum()
    if total == 0:
        return np.full(len(numerator), np.nan)
    return (numerator - numerator.sum() / total * denominator) / total


def _of_auc(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The influence on the area under the ROC curve: the share of the other kind that an image wins against."""
    moved = np.full(len(scores), np.nan)
    if positive.all() or not positive.any():
        return moved
    for own, sign in ((positive, 1), (~positive, -1)):
        rivals = np.sort(sign * scores[~own])
        beaten = np.searchsorted(rivals, sign * scores[own], side="left")
        beaten_or_equal = np.searchsorted(rivals, sign * scores[own], side="right")
        wins = (beaten + beaten_or_equal) / (2 * len(rivals))
        moved[own] = (wins - wins.mean()) / own.sum()
    return moved


def _of_average_precision(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The influence on the average precision, the mean over the positive images of the precision at their score.

    An image counts by its own precision if it is positive, and changes that of every positive image that it is scored
    as high as or higher: by 1 / called as a hit, and by -hits / called² as one more that is called.
    """
    if not positive.any():
        return np.full(len(scores), np.nan)
    ascending, of_positives = np.sort(scores), np.sort(scores[positive])
    called = len(scores) - np.searchsorted(ascending, of_positives, side="left")
    hits = len(of_positives) - np.searchsorted(of_positives, of_positives, side="left")
    precision = hits / called
    above = np.searchsorted(of_positives, scores, side="right")
    as_hit = np.r_[0, np.cumsum(1 / called)][above]
    as_called = np.r_[0, np.cumsum(precision / called)][above]
    own = np.zeros(len(scores))
    own[positive] = precision[np.searchsorted(of_positives, scores[positive], side="left")]
    return (own + positive * as_hit - as_called - positive * precision.mean()) / len(of_positives)


def _of_calibration_error(right: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """The influence on the expected calibration error: an image widens or narrows the gap of its bin."""
    bins = weighted.equal_mass_bins(confidence)
    gaps = np.bincount(bins, weights=right - confidence, minlength=weighted.CALIBRATION_BINS)
    return _of_ratio(np.sign(gaps)[bins] * (right - confidence), np.ones(len(right)))
