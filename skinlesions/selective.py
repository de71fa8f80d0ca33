"""Answering only when sure: what is gained by leaving the least certain images to somebody else.

A selective classifier answers for the share of images about which it is most certain, its coverage; the risk is its
rate of error among those (Geifman & El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017).
Certainty comes from the calibrated probabilities, or from how far the models of an ensemble agree.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from skinlesions import intervals
from skinlesions.dataset.schema import CLASSES

# The coverages of a curve.
COVERAGES = tuple(round(0.05 * step, 2) for step in range(1, 21))

SCORE_NAMES = {
    "probability": "probability of the predicted class",
    "entropy": "entropy of the probabilities",
    "mutual_information": "disagreement of the models (mutual information)",
    "variance": "disagreement of the models (variance)",
}

# What the other scores are compared with.
REFERENCE = "probability"


def certainties(members: np.ndarray) -> dict[str, np.ndarray]:
    """How certain an ensemble is of every image by each of SCORE_NAMES, float64 [N] each; the greater the surer.

    - probability: the greatest mean probability. entropy: less the entropy of the mean probabilities, in nats.
    - mutual_information: less the entropy of the mean, plus the mean of the entropies: what an image would tell about
      which model is right (Houlsby et al., "Bayesian active learning", 2011). It is 0 where all models say the same,
      be that even "I do not know".
    - variance: less the variance over models of the probability, summed over classes.

    Args:
        members: calibrated probabilities of each model, float [M, N, C].
    """
    members = np.asarray(members, dtype=np.float64)
    mean = members.mean(axis=0)
    return {
        "probability": mean.max(axis=1),
        "entropy": -_entropy(mean),
        "mutual_information": _entropy(members).mean(axis=0) - _entropy(mean),
        "variance": -members.var(axis=0).sum(axis=1),
    }


def risks(
    losses: np.ndarray, certainty: np.ndarray, coverages: Sequence[float] = COVERAGES, weights: np.ndarray | None = None
) -> np.ndarray:
    """The risk at each of `coverages`, float64 [K], or [R, K] with weights.

    The surest images are accepted until they are at least the share that is asked for; images of equal certainty are
    accepted together. The risk is the mean loss of the accepted.

    Args:
        losses: of every image, float [N]: 1 for a wrong answer and 0 for a right one, or any other.
        certainty: float [N], the greater the surer.
        coverages: above 0 and up to 1.
        weights: how often each image counts, [R, N]; None: once. To count the classes alike, divide the weight of an
            image by the number of images of its class.

    Raises:
        ValueError: the shapes disagree, there are no images, or a coverage is out of range.
    """
    coverages = np.asarray(coverages, dtype=np.float64)
    if not ((coverages > 0) & (coverages <= 1)).all():
        raise ValueError(f"coverages must lie above 0 and up to 1, not {coverages.min():g} to {coverages.max():g}")

    def at_coverages(accepted: np.ndarray, lost: np.ndarray, last: np.ndarray) -> np.ndarray:
        """The risks of the resamples of one chunk."""
        chunk = np.full((len(accepted), len(coverages)), np.nan)
        for row, (mass, loss) in enumerate(zip(accepted, lost, strict=True)):
            # Rounding must not ask for one image more than there are.
            wanted = coverages * mass[-1] * (1 - intervals.ROUNDING)
            place = last[np.minimum(np.searchsorted(mass, wanted), len(mass) - 1)]
            np.divide(loss[place], mass[place], out=chunk[row], where=mass[place] > 0)
        return chunk

    found = _by_chunks(losses, certainty, weights, at_coverages)
    return found[0] if weights is None else found


def area(losses: np.ndarray, certainty: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The area under the curve of risk over coverage (AURC), float64 [], or [R] with weights.

    The mean over images of the risk when the image is the last that is accepted; images of equal certainty are
    accepted together. A certainty that knows nothing gives the risk at full coverage. The arguments are those of
    `risks`.
    """

    def mean_risk(accepted: np.ndarray, lost: np.ndarray, last: np.ndarray) -> np.ndarray:
        """The areas of the resamples of one chunk, [r, 1]."""
        mass = np.take(accepted, last, axis=1)
        own = np.diff(accepted, axis=1, prepend=0)
        at_image = np.divide(np.take(lost, last, axis=1), mass, out=np.zeros(mass.shape), where=mass > 0)
        return np.einsum("rn,rn->r", own, at_image)[:, None] / accepted[:, -1:]

    found = _by_chunks(losses, certainty, weights, mean_risk)[:, 0]
    return found[0] if weights is None else found


def least_area(risk: np.ndarray) -> np.ndarray:
    """The area of the best certainty there is, which puts all wrong answers last: risk + (1 - risk) log(1 - risk).

    What an area is above it is its excess, and depends less on how good the classifier is (Geifman, Uziel & El-Yaniv,
    "Bias-reduced uncertainty estimation for deep neural classifiers", ICLR 2019).

    Args:
        risk: the rate of error at full coverage, float [...] in [0, 1].
    """
    risk = np.asarray(risk, dtype=np.float64)
    right = 1 - risk
    return risk + right * np.log(np.where(right > 0, right, 1))


def tables(
    labels: np.ndarray,
    probabilities: np.ndarray,
    scores: dict[str, np.ndarray],
    weights: np.ndarray,
    confidence: float,
    coverages: Sequence[float] = COVERAGES,
) -> dict[str, pd.DataFrame]:
    """Everything that is tabulated of a selective classifier.

    - curves: by score and coverage, the risk (the rate of error) and the balanced risk (the same if all classes were
      equally common, which changes what is accepted as well as what is wrong), with intervals.
    - areas: by score, the area under the curve of the risk, its excess over the least one, and its difference from
      that of REFERENCE, with intervals.
    - classes: by score, coverage and class: which share of the class is answered for, and its recall there. Certainty
      is not evenly spread: common classes are answered for first.

    Args:
        labels: int [N], positions in CLASSES.
        probabilities: what is predicted from, float [N, 7].
        scores: certainties by name, float [N] each, REFERENCE among them.
        weights: how often each image counts in each resample of the lesions, [R, N].
        confidence: of the intervals, percentile ones.
        coverages: of curves and classes.
    """
    losses = (probabilities.argmax(axis=1) != labels).astype(np.float64)
    alike = 1 / np.bincount(labels, minlength=len(CLASSES)).clip(1)[labels]
    once = np.ones((1, len(labels)))
    curves, areas, classes, drawn = [], [], [], {}
    risk, drawn_risk = losses.mean(), weights @ losses / weights.sum(axis=1)
    for name, certainty in scores.items():
        estimates = {"risk": risks(losses, certainty, coverages)}
        estimates["balanced_risk"] = risks(losses, certainty, coverages, once * alike)[0]
        draws = {"risk": risks(losses, certainty, coverages, weights)}
        draws["balanced_risk"] = risks(losses, certainty, coverages, weights * alike)
        for place, coverage in enumerate(coverages):
            row = {"score": name, "coverage": coverage}
            for metric in estimates:
                low, high = intervals.percentile_interval(draws[metric][:, place], confidence)
                row |= {metric: estimates[metric][place], f"{metric}_low": low, f"{metric}_high": high}
            curves.append(row)
            accepted = _accepted(certainty, coverage)
            for k, dx in enumerate(CLASSES):
                of_class = labels == k
                right = 1 - losses[of_class & accepted]
                classes.append(
                    {
                        "score": name,
                        "coverage": coverage,
                        "dx": dx,
                        "images": int((of_class & accepted).sum()),
                        "answered": accepted[of_class].mean() if of_class.any() else np.nan,
                        "recall": right.mean() if len(right) else np.nan,
                    }
                )
        drawn[name] = area(losses, certainty, weights)
    reference = area(losses, scores[REFERENCE])
    for name, certainty in scores.items():
        estimate = area(losses, certainty)
        compared = {
            "area": (estimate, drawn[name]),
            "excess": (estimate - least_area(risk), drawn[name] - least_area(drawn_risk)),
            "difference": (estimate - reference, drawn[name] - drawn[REFERENCE]),
        }
        row = {"score": name}
        for metric, (value, values) in compared.items():
            low, high = intervals.percentile_interval(values, confidence)
            row |= {metric: float(value), f"{metric}_low": low, f"{metric}_high": high}
        areas.append(row)
    return {"curves": pd.DataFrame(curves), "areas": pd.DataFrame(areas), "classes": pd.DataFrame(classes)}


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    """The entropy over the last axis, in nats."""
    return -(probabilities * np.log(np.where(probabilities > 0, probabilities, 1))).sum(axis=-1)


def _accepted(certainty: np.ndarray, coverage: float) -> np.ndarray:
    """Which images are accepted at `coverage`, bool [N], as in `risks`."""
    wanted = int(np.ceil(coverage * len(certainty) * (1 - intervals.ROUNDING)))
    return certainty >= np.sort(certainty)[::-1][wanted - 1]


def _by_chunks(
    losses: np.ndarray,
    certainty: np.ndarray,
    weights: np.ndarray | None,
    statistic: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """`statistic` of the cumulative weights and losses [r, N] from the surest image on, some resamples at a time.

    Its third argument is, for each place in that order, the last place of equal certainty, int [N].
    """
    losses, certainty = np.asarray(losses, dtype=np.float64), np.asarray(certainty, dtype=np.float64)
    weights = np.ones((1, len(losses))) if weights is None else np.asarray(weights)
    if losses.ndim != 1 or len(losses) == 0 or certainty.shape != losses.shape or weights.shape[1:] != losses.shape:
        raise ValueError(
            f"losses {losses.shape}, certainty {certainty.shape} and weights {weights.shape} must be "
            "[N], [N] and [R, N] with N > 0"
        )
    order = np.argsort(-certainty, kind="stable")
    sorted_certainty = -certainty[order]
    last = np.searchsorted(sorted_certainty, sorted_certainty, side="right") - 1
    rows = max(1, intervals.CHUNK_NUMBERS // len(losses))
    parts = []
    for start in range(0, len(weights), rows):
        counted = np.take(weights[start : start + rows], order, axis=1).astype(np.float64)
        parts.append(statistic(np.cumsum(counted, axis=1), np.cumsum(counted * losses[order], axis=1), last))
    return np.concatenate(parts)
