"""Metrics of a seven-class classifier, for one sample or for many weighted resamples of it at once.

Everything follows from three things: the true class of every image, its predicted probabilities, and how often the
image counts. A plain estimate is the resample in which every image counts once, so that one implementation serves the
estimates and their bootstrap distributions. NumPy and SciPy are all it needs.
"""

import numpy as np
from scipy import special

from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import weighted
from skinlesions.evaluation.weighted import CALIBRATION_BINS, areas, equal_mass_bins, losses, mean, ratio, sums

# Balanced accuracy comes first everywhere: it is the metric of ISIC 2018 Task 3.
OVERALL_METRICS = ("balanced_accuracy", "accuracy", "macro_f1", "weighted_f1", "macro_auc", "nll", "brier", "ece")
RECALL_METRICS = tuple(f"recall_{name}" for name in CLASSES)
METRICS = OVERALL_METRICS + RECALL_METRICS

# What each class is scored by against the rest; only the recall is among METRICS.
CLASS_METRICS = ("recall", "specificity", "precision", "f1", "auc", "average_precision")
# Those that rest on the images of the class alone, or on what they are scored by.
OF_THE_CLASS = tuple(metric for metric in CLASS_METRICS if metric != "specificity")
ALL_METRICS = (
    *METRICS,
    "macro_average_precision",
    *(f"{metric}_{name}" for metric in CLASS_METRICS if metric != "recall" for name in CLASSES),
)


def softmax(logits: np.ndarray) -> np.ndarray:
    """The probabilities, float64 [..., C], of `logits` [..., C]; safe for logits of any size."""
    return special.softmax(np.asarray(logits, dtype=np.float64), axis=-1)


def summary(labels: np.ndarray, probabilities: np.ndarray, *, by_class: bool = False) -> dict[str, float]:
    """Every metric of METRICS for one set of predictions; see `weighted_summary` for what each means.

    Args:
        labels: the true class of every image, int [N], positions in CLASSES.
        probabilities: float [N, 7], rows that sum to 1.
        by_class: give ALL_METRICS instead.
    """
    once = np.ones((1, len(labels)))
    values = weighted_summary(labels, probabilities, once, by_class=by_class)
    return {name: float(value[0]) for name, value in values.items()}


def weighted_summary(
    labels: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray,
    *,
    by_class: bool = False,
) -> dict[str, np.ndarray]:
    """Every metric of METRICS, or of ALL_METRICS, under each of R weightings of the images, each float64 [R].

    - balanced_accuracy: mean over classes of the recall. macro_f1: mean over classes of F1. weighted_f1: the same,
      each class counted by its share of the images. All three, and macro_auc, run over the classes that occur among
      the weighted images; the recall of a class that does not occur is NaN.
    - An image whose largest probability is that of several classes is undecided: it is wrong, and called none of them.
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
        labels: int [N], positions in CLASSES.
        probabilities: float [N, 7].
        weights: how often each image counts, [R, N], not negative; whole or not. Memory: about four float64 arrays of
            this shape.
        by_class: whether to give ALL_METRICS; they take half as long again.

    Raises:
        ValueError: the shapes disagree, there are no images, a label is not a position in CLASSES, or a
            probability is not in [0, 1].
    """
    labels, probabilities = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    counts, weights = np.asarray(weights), np.asarray(weights, dtype=np.float64)
    _check(labels, probabilities, weights)
    predicted = weighted.answers(probabilities)
    total = weights.sum(axis=1)

    columns = len(CLASSES) + 1  # the last one of the undecided
    confusion = sums(counts, labels * columns + predicted, len(CLASSES) * columns).reshape(-1, len(CLASSES), columns)
    truth = confusion.sum(axis=2)
    confusion = confusion[:, :, :-1]
    hits, called = np.einsum("rcc->rc", confusion), confusion.sum(axis=1)
    present = truth > 0
    recall = ratio(hits, truth)
    f1 = ratio(2 * hits, truth + called)
    by_score = [areas(labels == k, probabilities[:, k], counts, precision_recall=by_class) for k in range(len(CLASSES))]
    auc, average_precision = (np.stack(own, axis=1) for own in zip(*by_score, strict=True))

    nll, brier = losses(labels, probabilities)
    confidence = probabilities.max(axis=1)
    gaps = sums(weights * ((labels == predicted) - confidence), equal_mass_bins(confidence), CALIBRATION_BINS)
    values = {
        "balanced_accuracy": mean(recall, present),
        "accuracy": ratio(hits.sum(axis=1), total),
        "macro_f1": mean(f1, present),
        "weighted_f1": ratio(np.where(present, truth * f1, 0).sum(axis=1), total),
        "macro_auc": mean(auc),
        "nll": ratio(np.einsum("rn,n->r", weights, nll), total),
        "brier": ratio(np.einsum("rn,n->r", weights, brier), total),
        "ece": ratio(np.abs(gaps).sum(axis=1), total),
        **{f"recall_{name}": recall[:, k] for k, name in enumerate(CLASSES)},
    }
    if not by_class:
        return values
    others = total[:, None] - truth
    scores = {
        "specificity": ratio(others - (called - hits), others),
        "precision": ratio(hits, called),
        "f1": f1,
        "auc": auc,
        "average_precision": average_precision,
    }
    values["macro_average_precision"] = mean(average_precision)
    return values | {
        f"{metric}_{name}": score[:, k] for metric, score in scores.items() for k, name in enumerate(CLASSES)
    }


def _check(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> None:
    """Refuse arrays that do not belong together."""
    classes = len(CLASSES)
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
