"""From probabilities to decisions: melanoma against the rest, malignant against benign.

Thresholds are chosen on the validation images of a fold's model and applied to the test images of the same fold, so
that the sensitivity and specificity reported were not chosen on the images that they describe. Net benefit takes the
score at its word: it needs probabilities that are calibrated class by class. NumPy and pandas are all it needs.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from skinlesions.core.classes import MALIGNANT
from skinlesions.core.errors import UserError
from skinlesions.evaluation.bootstrap import estimates, has_one_lesion, with_sample
from skinlesions.evaluation.curves import BENEFITS, GRID, THRESHOLDS, resampled
from skinlesions.evaluation.thresholds import CRITERIA, Part, called, fold_thresholds, positives, scores
from skinlesions.evaluation.weighted import areas, rates

# What is decided, and the classes for which the answer is yes.
TASKS = {"melanoma": ("mel",), "malignant": MALIGNANT}

TARGETS = (0.90, 0.95)


# The test and the validation images of every model by its name; all models are of the same test images.
Parts = dict[str, tuple[Part, Part]]


def tables(parts: Parts, weights: np.ndarray, confidence: float, drawn: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Everything about decisions that is tabulated, model by model in the order of `parts`.

    Args:
        parts: the models.
        weights: how often each image counts in each resample of the lesions, whole numbers [R, N].
        confidence: of every interval, such as 0.95.
        drawn: whose curves are tabulated.

    Raises:
        UserError: there is no model, none or an unknown one is drawn, or a fold's validation images are all of one
            kind.
    """
    if not parts:
        raise UserError("there are no predictions to decide on; name at least one model")
    if not drawn or not set(drawn) <= set(parts):
        raise UserError(f"cannot draw the curves of {', '.join(drawn) or 'no model'}; name some of {', '.join(parts)}")
    counted = with_sample(weights)
    return {
        "discrimination": discrimination(parts, counted, confidence),
        "operating_points": operating_points(parts, counted, confidence),
        "curves": curves({name: parts[name] for name in parts if name in drawn}, counted, confidence),
    }


def _tasks(parts: Parts) -> Iterator[tuple[dict[str, str], Part, Part, tuple[str, ...]]]:
    """Every model and task: what a row begins with, the test and validation images, the positive classes."""
    for name, (test, val) in parts.items():
        for task, classes in TASKS.items():
            yield {"model": name, "task": task}, test, val, classes


def discrimination(parts: Parts, weights: np.ndarray, confidence: float) -> pd.DataFrame:
    """How well the score separates the two kinds of image: auc and average_precision with intervals.

    Args:
        parts: the models.
        weights: as bootstrap.with_sample returns them, [R + 1, N].
        confidence: of the intervals.

    Returns:
        model, task, images, positives, and the two areas.
    """
    rows = []
    for head, test, _, classes in _tasks(parts):
        positive = positives(test.labels, classes)
        values = areas(positive, scores(test.probabilities, classes), weights)
        found = dict(zip(("auc", "average_precision"), values, strict=True))
        sizes = {"images": len(positive), "positives": int(positive.sum())}
        rows.append(head | sizes | estimates(found, confidence))
    return pd.DataFrame(rows)


def operating_points(parts: Parts, weights: np.ndarray, confidence: float) -> pd.DataFrame:
    """What thresholds that reach TARGETS on the validation images reach on the test images.

    The intervals are of the test images, for these thresholds.

    Args:
        parts: the models.
        weights: as bootstrap.with_sample returns them, [R + 1, N].
        confidence: of the intervals.

    Returns:
        model, task, criterion, target, the lowest and the highest threshold of the folds, sensitivity and specificity.
    """
    asked = [(criterion, target) for criterion in CRITERIA for target in TARGETS]
    rows = []
    for head, test, val, classes in _tasks(parts):
        chosen = [fold_thresholds(val, classes, *point) for point in asked]
        positive = positives(test.labels, classes)
        found = rates(positive, np.column_stack([called(test, classes, limits) for limits in chosen]), weights)
        sides = {"sensitivity": positive, "specificity": ~positive}
        one_lesion = [name for name, side in sides.items() if has_one_lesion(test.groups[side])]
        for place, (criterion, target) in enumerate(asked):
            limits = chosen[place].values()
            row = {"criterion": criterion, "target": target, "threshold_min": min(limits), "threshold_max": max(limits)}
            values = {name: own[:, place] for name, own in zip(sides, found, strict=True)}
            rows.append(head | row | estimates(values, confidence, one_lesion=one_lesion))
    return pd.DataFrame(rows)


def curves(parts: Parts, weights: np.ndarray, confidence: float) -> pd.DataFrame:
    """The curves of every model and task in long form, with a band of pointwise intervals.

    Args:
        parts: the models.
        weights: as bootstrap.with_sample returns them, [R + 1, N].
        confidence: of the intervals.

    Returns:
        model, task, curve (one of curves.CURVES), x (the false-positive rate, the recall, or the threshold
        probability), y, low, high.
    """
    levels = [(1 - confidence) / 2, (1 + confidence) / 2]
    pieces = []
    for head, test, _, classes in _tasks(parts):
        values = resampled(positives(test.labels, classes), scores(test.probabilities, classes), weights)
        for curve, own in values.items():
            # Resamples without a positive image have no curve; nanquantile leaves them out.
            low, high = np.nanquantile(own[1:], levels, axis=0)
            x = THRESHOLDS if curve in BENEFITS else GRID
            pieces.append(pd.DataFrame(head | {"curve": curve, "x": x, "y": own[0], "low": low, "high": high}))
    return pd.concat(pieces, ignore_index=True)
