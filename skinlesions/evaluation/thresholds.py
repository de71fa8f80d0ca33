"""Thresholds of decisions, chosen on the validation images of a fold's model and applied to its test images.

The score of an image is the sum of its probabilities over the classes that a decision is about; an image is called when
its score reaches the threshold. So chosen, a sensitivity or specificity does not describe the images that chose it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import predictions
from skinlesions.evaluation.curves import counts

CRITERIA = ("specificity", "sensitivity")

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
