"""What out-of-fold predictions say about images of no fold: their probabilities, and when one of them is called.

Such an image is given to the networks of all folds. Each is calibrated by vector scaling on its own validation images,
and the probabilities are the mean over the networks. Each network also has a threshold of its own for every operating
point, chosen on the same validation images, as in the report; the image is called when the mean of its scores reaches
the mean of the thresholds. That the mean has the sensitivity or specificity of its parts is not measured: no image of
the data is new to all networks. NumPy, SciPy and pandas are all it needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from skinlesions.evaluation import calibration, ensembles, thresholds
from skinlesions.evaluation.calibration import VectorScaling
from skinlesions.evaluation.operating_points import TARGETS, TASKS
from skinlesions.evaluation.thresholds import CRITERIA, Part

# How the networks are calibrated, one of calibration.WAYS.
WAY = "vector"

# The decision that goes with a prediction: task, criterion and target of its operating point.
DECISION = ("malignant", "specificity", 0.9)


@dataclass(frozen=True)
class OperatingPoint:
    """The thresholds that reach a target, of the network of each fold.

    Attributes:
        task: one of operating_points.TASKS.
        criterion: one of thresholds.CRITERIA.
        target: of the criterion, on the validation images of each network.
        by_fold: the threshold of each network; infinite where only calling nothing is specific enough.
    """

    task: str
    criterion: str
    target: float
    by_fold: tuple[float, ...]

    @property
    def threshold(self) -> float:
        """That of the mean over the networks; infinite if one of theirs is."""
        return float(np.mean(self.by_fold))


def scalings(table: pd.DataFrame) -> list[VectorScaling]:
    """The vector scaling of every fold's network, in the order of the folds, from the predictions `table`."""
    return [scaling for _, scaling in sorted(calibration.fold_fits(table, calibration.vector_scaling).items())]


def parts(tables: dict[str, pd.DataFrame]) -> tuple[Part, Part]:
    """The test and the validation images of a model, calibrated, or those of the mean of several models.

    Args:
        tables: the predictions of every model by its name, at least one.

    Raises:
        UserError: the models were not trained on the same images and folds.
    """
    ensembles.shared_rows(tables, "test")
    each = {
        split: [
            thresholds.part(table, split, calibration.probabilities(table, split, WAY)) for table in tables.values()
        ]
        for split in ("test", "val")
    }
    test, val = (
        replace(own[0], probabilities=np.mean([part.probabilities for part in own], axis=0)) for own in each.values()
    )
    return test, val


def operating_points(val: Part) -> list[OperatingPoint]:
    """Every operating point of the report, chosen on the validation images `val`.

    Raises:
        UserError: the validation images of a fold are all of one kind.
    """
    found = []
    for task, classes in TASKS.items():
        for criterion in CRITERIA:
            for target in TARGETS:
                by_fold = thresholds.fold_thresholds(val, classes, criterion, target)
                found.append(OperatingPoint(task, criterion, target, tuple(by_fold[fold] for fold in sorted(by_fold))))
    return found


def find(points: Sequence[OperatingPoint], task: str, criterion: str, target: float) -> OperatingPoint:
    """The operating point of `task` at the `target` of the `criterion`.

    Raises:
        KeyError: there is none.
    """
    for point in points:
        if (point.task, point.criterion, point.target) == (task, criterion, target):
            return point
    raise KeyError(f"{task} at {criterion} {target}")


def called(probabilities: np.ndarray, point: OperatingPoint) -> np.ndarray:
    """Whether each image, with mean probabilities [N, 7], is called at `point`, bool [N]."""
    return thresholds.scores(probabilities, TASKS[point.task]) >= point.threshold
