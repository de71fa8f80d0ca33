"""Paired comparison: the balanced accuracy of several sets of answers on the same resamples of the lesions.

What makes a resample hard makes it hard for every model, so that the difference of two models varies less than either
score does. NumPy, SciPy and the statistics modules of this project are all it needs.
"""

from dataclasses import dataclass

import numpy as np

from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import bootstrap, influence, weighted

METRIC = "balanced_accuracy"


@dataclass(frozen=True)
class Paired:
    """The balanced accuracies of several sets of answers, and what their intervals and differences need.

    Attributes:
        estimates: by name, on the images themselves.
        draws: by name, on each resample, float64 [R].
        jackknives: by name, over the lesions, float64 [G]; only BCa intervals use them.
        confidence: of every interval.
        method: of the intervals, one of skinlesions.evaluation.bootstrap.METHODS.
    """

    estimates: dict[str, float]
    draws: dict[str, np.ndarray]
    jackknives: dict[str, np.ndarray]
    confidence: float
    method: str

    def interval(self, name: str) -> tuple[float, float]:
        """The interval (low, high) of the score of `name`."""
        return bootstrap.interval(
            self.draws[name], self.estimates[name], self.jackknives[name], self.confidence, self.method
        )

    def difference(self, name: str, other: str) -> dict[str, float]:
        """The score of `name` less that of `other`: difference, low, high, and the two-sided p_value of none."""
        draws = self.draws[name] - self.draws[other]
        estimate = self.estimates[name] - self.estimates[other]
        jackknife = self.jackknives[name] - self.jackknives[other]
        low, high = bootstrap.interval(draws, estimate, jackknife, self.confidence, self.method)
        return {"difference": estimate, "low": low, "high": high, "p_value": bootstrap.two_sided_p_value(draws)}


def compare(
    labels: np.ndarray,
    answers: dict[str, np.ndarray],
    groups: np.ndarray,
    weights: np.ndarray,
    confidence: float,
    method: str = "percentile",
) -> Paired:
    """Score every set of answers on the same resamples.

    Args:
        labels: the true classes, int [N], positions in CLASSES.
        answers: by name, the class that is answered for each image, int [N].
        groups: the lesion of every image, [N].
        weights: how often each image is drawn, [R, N]; `bootstrap.lesion_resamples` makes them.
        confidence: of the intervals, such as 0.95.
        method: of the intervals, one of skinlesions.evaluation.bootstrap.METHODS.
    """
    once = balanced_accuracies(labels, answers, np.ones((1, len(labels))))
    return Paired(
        estimates={name: float(values[0]) for name, values in once.items()},
        draws=balanced_accuracies(labels, answers, weights),
        jackknives={
            name: influence.jackknife(labels, np.eye(len(CLASSES))[own], groups)[METRIC]
            for name, own in answers.items()
        },
        confidence=confidence,
        method=method,
    )


def balanced_accuracies(
    labels: np.ndarray, answers: dict[str, np.ndarray], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """The balanced accuracy of each of `answers` on each resample, float64 [R]: all of them in one matrix product.

    Args:
        labels: int [N].
        answers: by name, the class that is answered for each image, int [N].
        weights: how often each image is drawn, [R, N].
    """
    scores = weighted.mean(weighted.recalls(labels, np.stack(list(answers.values())), weights))
    return dict(zip(answers, scores.T, strict=True))
