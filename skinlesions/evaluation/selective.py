"""Answering only when sure: what is gained by leaving the least certain images to somebody else.

A selective classifier answers for the share of images about which it is most certain, its coverage; the risk is its
rate of error among those (Geifman & El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017).
Certainty comes from the calibrated probabilities, or from how far the models of an ensemble agree. NumPy and pandas are
all it needs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import bootstrap, weighted

# The coverages of a curve.
COVERAGES = tuple(round(0.05 * step, 2) for step in range(1, 21))

# Those at which it is tabulated what becomes of each class; the last is all images, for comparison.
CLASS_COVERAGES = (0.5, 0.8, 1.0)

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
        members: calibrated probabilities of each model, float [M, N, C]. One model cannot disagree: it has the first
            two scores alone.
    """
    members = np.asarray(members, dtype=np.float64)
    mean = members.mean(axis=0)
    scores = {"probability": mean.max(axis=1), "entropy": -_entropy(mean)}
    if len(members) == 1:
        return scores
    return scores | {
        "mutual_information": _entropy(members).mean(axis=0) - _entropy(mean),
        "variance": -members.var(axis=0).sum(axis=1),
    }


def risks(
    losses: np.ndarray,
    certainty: np.ndarray,
    coverages: Sequence[float] = COVERAGES,
    weights: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> np.ndarray:
    """The risk at each of `coverages`, float64 [K], or [R, K] with weights.

    The surest images are accepted until they are at least the share that is asked for; images of equal certainty are
    accepted together. The risk is the mean loss of the accepted.

    Args:
        losses: of every image, float [N]: 1 for a wrong answer and 0 for a right one, or any other.
        certainty: float [N], the greater the surer.
        coverages: above 0 and up to 1.
        weights: how often each image counts, [R, N]; None: once.
        labels: the class of every image, int [N], to count all classes alike; None: all images alike.

    Raises:
        ValueError: the shapes disagree, there are no images, or a coverage is out of range.
    """
    asked = _checked(coverages)
    order, last = _order(losses, certainty, weights)
    parts = []
    for counted in _in_order(order, weights, labels):
        mass, lost = np.cumsum(counted, axis=1), np.cumsum(counted * losses[order], axis=1)
        place = _places(mass, last, asked)
        accepted, loss = (np.take_along_axis(total, place, axis=1) for total in (mass, lost))
        parts.append(weighted.ratio(loss, accepted))
    found = np.concatenate(parts)
    return found[0] if weights is None else found


def area(losses: np.ndarray, certainty: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The area under the curve of risk over coverage (AURC), float64 [], or [R] with weights.

    The mean over images of the risk when the image is the last that is accepted; images of equal certainty are
    accepted together. A certainty that knows nothing gives the risk at full coverage. The arguments are those of
    `risks`.
    """
    order, last = _order(losses, certainty, weights)
    parts = []
    for counted in _in_order(order, weights):
        mass, lost = np.cumsum(counted, axis=1), np.cumsum(counted * losses[order], axis=1)
        at_image = weighted.ratio(np.take(lost, last, axis=1), np.take(mass, last, axis=1))
        parts.append(np.einsum("rn,rn->r", counted, np.nan_to_num(at_image)) / mass[:, -1])
    found = np.concatenate(parts)
    return found[0] if weights is None else found


def answered(
    labels: np.ndarray, losses: np.ndarray, certainty: np.ndarray, coverages: Sequence[float], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What becomes of each class when the surest images of all classes are accepted, as in `risks`.

    Args:
        labels: int [N], positions in CLASSES.
        losses: 1 for a wrong answer and 0 for a right one, float [N].
        certainty: float [N], the greater the surer.
        coverages: above 0 and up to 1.
        weights: how often each image counts, [R, N].

    Returns:
        The share of each class that is answered for, and the recall of the class among these, float64 [R, K, 7] each;
        NaN where there is no image to speak of.
    """
    asked = _checked(coverages)
    order, last = _order(losses, certainty, weights)
    truth = np.eye(len(CLASSES))[labels[order]]
    both = np.concatenate([truth, truth * (1 - losses[order])[:, None]], axis=1)
    shares, recalls = [], []
    for counted in _in_order(order, weights):
        place = _places(np.cumsum(counted, axis=1), last, asked)
        accepted = [(counted * (np.arange(len(order)) <= end[:, None])) @ both for end in place.T]
        images, right = np.split(np.stack(accepted, axis=1), 2, axis=2)
        shares.append(weighted.ratio(images, (counted @ truth)[:, None]))
        recalls.append(weighted.ratio(right, images))
    return np.concatenate(shares), np.concatenate(recalls)


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


@dataclass(frozen=True)
class Selection:
    """A classifier that may decline to answer.

    Attributes:
        labels: int [N], positions in CLASSES.
        groups: the lesion of every image, [N].
        losses: 1 for a wrong answer and 0 for a right one, float64 [N].
        certainties: by name, float64 [N] each, the greater the surer; REFERENCE among them.
        weights: as bootstrap.with_sample returns them, [R + 1, N].
        confidence: of the intervals, percentile ones.
    """

    labels: np.ndarray
    groups: np.ndarray
    losses: np.ndarray
    certainties: dict[str, np.ndarray]
    weights: np.ndarray
    confidence: float


def tables(
    labels: np.ndarray,
    probabilities: np.ndarray,
    scores: dict[str, np.ndarray],
    groups: np.ndarray,
    weights: np.ndarray,
    confidence: float,
) -> dict[str, pd.DataFrame]:
    """Everything that is tabulated of a selective classifier.

    Args:
        labels: int [N], positions in CLASSES.
        probabilities: what is predicted from, float [N, 7].
        scores: certainties by name, float [N] each, REFERENCE among them.
        groups: the lesion of every image, [N].
        weights: how often each image counts in each resample of the lesions, whole numbers [R, N].
        confidence: of the intervals, percentile ones.
    """
    losses = (probabilities.argmax(axis=1) != labels).astype(np.float64)
    selection = Selection(labels, groups, losses, scores, bootstrap.with_sample(weights), confidence)
    return {
        "coverage_curves": coverage_curves(selection),
        "coverage_areas": coverage_areas(selection),
        "coverage_classes": coverage_classes(selection),
    }


def coverage_curves(selection: Selection) -> pd.DataFrame:
    """How often the answers are wrong at each of COVERAGES.

    Returns:
        score, coverage; the risk (the rate of error), the balanced risk (the same if all classes were equally common,
        which changes what is accepted as well as what is wrong), and the gain of both, which is how far they lie below
        those at full coverage; with intervals, which are of paired differences for the gains.
    """
    rows = []
    for name, certainty in selection.certainties.items():
        draws = {
            metric: risks(selection.losses, certainty, (*COVERAGES, 1.0), selection.weights, labels)
            for metric, labels in (("risk", None), ("balanced_risk", selection.labels))
        }
        draws |= {metric.replace("risk", "gain"): values[:, -1:] - values for metric, values in draws.items()}
        for place, coverage in enumerate(COVERAGES):
            own = {metric: values[:, place] for metric, values in draws.items()}
            rows.append({"score": name, "coverage": coverage} | bootstrap.estimates(own, selection.confidence))
    return pd.DataFrame(rows)


def coverage_areas(selection: Selection) -> pd.DataFrame:
    """The area under the curve of risk over coverage.

    Returns:
        score; the area, its excess over the least one, and its difference from that of REFERENCE, with intervals.
    """
    areas = {name: area(selection.losses, own, selection.weights) for name, own in selection.certainties.items()}
    least = least_area(selection.weights @ selection.losses / selection.weights.sum(axis=1))
    rows = []
    for name, own in areas.items():
        compared = {"area": own, "excess": own - least, "difference": own - areas[REFERENCE]}
        rows.append({"score": name} | bootstrap.estimates(compared, selection.confidence))
    return pd.DataFrame(rows)


def coverage_classes(selection: Selection) -> pd.DataFrame:
    """What becomes of each class at each of CLASS_COVERAGES.

    Certainty is not evenly spread: common classes are answered for first.

    Returns:
        score, coverage, dx, images (answered for), answered (their share of the class) and recall (of those), with
        intervals.
    """
    rows = []
    alone = bootstrap.one_lesion_classes(selection.labels, selection.groups)
    for name, certainty in selection.certainties.items():
        shares, recalls = answered(selection.labels, selection.losses, certainty, CLASS_COVERAGES, selection.weights)
        for place, coverage in enumerate(CLASS_COVERAGES):
            images = _accepted(certainty, coverage)
            for k, dx in enumerate(CLASSES):
                own = {"answered": shares[:, place, k], "recall": recalls[:, place, k]}
                count = int((images & (selection.labels == k)).sum())
                head = {"score": name, "coverage": coverage, "dx": dx, "images": count}
                one_lesion = tuple(own) if dx in alone else ()
                rows.append(head | bootstrap.estimates(own, selection.confidence, one_lesion=one_lesion))
    return pd.DataFrame(rows)


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    """The entropy over the last axis, in nats."""
    return -(probabilities * np.log(np.where(probabilities > 0, probabilities, 1))).sum(axis=-1)


def _accepted(certainty: np.ndarray, coverage: float) -> np.ndarray:
    """Which images are accepted at `coverage`, bool [N], as in `risks`."""
    wanted = int(np.ceil(coverage * len(certainty) * (1 - bootstrap.ROUNDING)))
    return certainty >= np.sort(certainty)[::-1][wanted - 1]


def _checked(coverages: Sequence[float]) -> np.ndarray:
    """`coverages`, float64 [K], if they are in range."""
    asked = np.asarray(coverages, dtype=np.float64)
    if not ((asked > 0) & (asked <= 1)).all():
        raise ValueError(f"coverages must lie above 0 and up to 1, not {asked.min():g} to {asked.max():g}")
    return asked


def _order(losses: np.ndarray, certainty: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The images from the surest on, int [N], and for each place in that order the last one of equal certainty."""
    losses, certainty = np.asarray(losses), np.asarray(certainty, dtype=np.float64)
    shape = (1, len(losses)) if weights is None else np.shape(weights)
    if losses.ndim != 1 or len(losses) == 0 or certainty.shape != losses.shape or shape[1:] != losses.shape:
        raise ValueError(
            f"losses {losses.shape}, certainty {certainty.shape} and weights {shape} must be "
            "[N], [N] and [R, N] with N > 0"
        )
    order = np.argsort(-certainty, kind="stable")
    sorted_certainty = -certainty[order]
    return order, np.searchsorted(sorted_certainty, sorted_certainty, side="right") - 1


def _in_order(order: np.ndarray, weights: np.ndarray | None, labels: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """The weights in that order, float64 [r, N], some resamples at a time; as shares of their class if `labels`."""
    for part in weighted.chunks(np.ones((1, len(order))) if weights is None else weights):
        counted = np.take(part, order, axis=1).astype(np.float64)
        if labels is not None:
            totals = counted @ np.eye(len(CLASSES))[labels[order]]
            counted /= np.where(totals > 0, totals, 1)[:, labels[order]]
        yield counted


def _places(mass: np.ndarray, last: np.ndarray, coverages: np.ndarray) -> np.ndarray:
    """The place of the last image accepted at each of `coverages`, int [r, K], from cumulative weights [r, N]."""
    # Rounding must not ask for one image more than there are.
    wanted = coverages * mass[:, -1:] * (1 - bootstrap.ROUNDING)
    places = np.stack([np.searchsorted(own, limits) for own, limits in zip(mass, wanted, strict=True)])
    return last[np.minimum(places, mass.shape[1] - 1)]
