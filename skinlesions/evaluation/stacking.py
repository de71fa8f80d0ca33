"""Stacking: a multinomial logistic regression on the logarithms of the models' probabilities.

Wolpert, "Stacked generalization", Neural Networks 5, 1992. NumPy and SciPy are all it needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skinlesions.evaluation import metrics, softmax_regression

# How far the weights of a stacker may be from equal ones, as standard deviations of a normal prior; the validation
# rows choose among them. And the same of its shifts, which is no choice.
SPREADS = (0.025, 0.05, 0.1, 0.2, 0.4)
SHIFT_PRIOR = 2.0
INNER_FOLDS = 4


@dataclass(frozen=True)
class Stacker:
    """A logistic regression in which each class listens to what the models say about that class.

    Attributes:
        weights: of each model's log-probability of each class, float64 [M, C].
        shifts: float64 [C].
        spread: the prior's standard deviation of the weights.
    """

    weights: np.ndarray
    shifts: np.ndarray
    spread: float

    def __call__(self, log_probabilities: np.ndarray) -> np.ndarray:
        """The probabilities, float64 [N, C], from the models' log-probabilities [N, M, C]."""
        return metrics.softmax(np.einsum("nmc,mc->nc", centred(log_probabilities), self.weights) + self.shifts)


def centred(log_probabilities: np.ndarray) -> np.ndarray:
    """`log_probabilities` [..., C] less their mean over the classes: logits without an arbitrary constant."""
    return log_probabilities - log_probabilities.mean(axis=-1, keepdims=True)


def stack(labels: np.ndarray, log_probabilities: np.ndarray, spread: float) -> Stacker:
    """The stacker with the least penalised negative log-likelihood.

    The penalty is that of normal priors: on the weights around 1 / M, which is the geometric mean of the models, and
    on the shifts around 0. A class has M + 1 numbers and no say in another one's, because a validation fold has some
    20 images of the rarest class.

    Args:
        labels: int [N].
        log_probabilities: of the models, float [N, M, C].
        spread: the standard deviation of the weights' prior.

    Raises:
        ValueError: there are no images, or the shapes disagree.
    """
    labels, log_probabilities = np.asarray(labels, dtype=np.int64), np.asarray(log_probabilities, dtype=np.float64)
    if log_probabilities.ndim != 3 or len(log_probabilities) == 0 or labels.shape != log_probabilities.shape[:1]:
        raise ValueError(
            f"labels {labels.shape} and log-probabilities {log_probabilities.shape} "
            "must be [N] and [N, M, C] with N > 0"
        )
    count, models, classes = log_probabilities.shape
    parameters = softmax_regression.fit(
        labels,
        np.concatenate([centred(log_probabilities), np.ones((count, 1, classes))], axis=1),
        centre=np.concatenate([np.full((models, classes), 1 / models), np.zeros((1, classes))]),
        deviation=np.concatenate([np.full((models, classes), spread), np.full((1, classes), SHIFT_PRIOR)]),
    )
    return Stacker(parameters[:-1], parameters[-1], spread)


def choose_spread(
    labels: np.ndarray, log_probabilities: np.ndarray, groups: np.ndarray, spreads: Sequence[float] = SPREADS
) -> float:
    """The one of `spreads` whose stackers have the least negative log-likelihood on lesions left out of their fit.

    The images are dealt to INNER_FOLDS folds, the lesions whole and class by class.

    Args:
        labels: int [N].
        log_probabilities: float [N, M, C].
        groups: the lesion of every image, [N].
    """
    _, first, members = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(0).permutation(len(first))
    dealt = np.empty(len(first), dtype=np.int64)
    dealt[shuffled[np.argsort(labels[first][shuffled], kind="stable")]] = np.arange(len(first)) % INNER_FOLDS
    fold = dealt[members]
    losses = []
    for spread in spreads:
        loss = 0.0
        for k in np.unique(fold):
            stacker = stack(labels[fold != k], log_probabilities[fold != k], spread)
            left_out = stacker(log_probabilities[fold == k])
            loss -= np.log(left_out[np.arange(len(left_out)), labels[fold == k]]).sum()
        losses.append(loss)
    return spreads[int(np.argmin(losses))]
