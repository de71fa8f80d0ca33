"""The scores of the ISIC challenges, as their official scorer defines them (isic-challenge-scoring 5.8.0).

They differ from those of the report in what they are taken of: sensitivity, specificity and the other shares of each
class are those of calling it at a probability above .5, and not those of the answers. What has no cases counts as 1.
Any classes will do: ISIC 2019 has nine, MILK10k eleven.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from skinlesions.evaluation import weighted

THRESHOLD = 0.5
# The sensitivity from which on the last of the areas is taken.
SENSITIVITY = 0.8

AREAS = ("auc", "auc_sens_80", "average_precision")
METRICS = ("accuracy", "sensitivity", "specificity", "f1", "ppv", "npv", *AREAS)


def balanced_accuracy(truth: np.ndarray, values: np.ndarray, weights: np.ndarray) -> float:
    """The mean over the classes that occur of their recall by the answers; NaN if nothing counts.

    Args:
        truth: int [N], positions of the C classes.
        values: float64 [N, C]; a row whose largest value is there twice is undecided, that is, wrong.
        weights: float64 [N].
    """
    hit = weights * (weighted.answers(values) == truth)
    found, cases = (weighted.sums(own[None], truth, values.shape[1]) for own in (hit, weights))
    return float(weighted.mean(weighted.ratio(found, cases))[0])


def by_class(truth: np.ndarray, values: np.ndarray, weights: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """METRICS of every class against the rest; the areas are NaN where one of both has no weight.

    Args:
        truth: int [N], positions in `classes`.
        values: float64 [N, C], in [0, 1].
        weights: float64 [N].

    Returns:
        class, then METRICS; ppv and npv are the shares of the predicted positives and negatives that are right.
    """
    rows: list[dict[str, str | float]] = []
    for position, name in enumerate(classes):
        positive, scores = truth == position, values[:, position]
        shares, areas = _shares(positive, scores > THRESHOLD, weights), _areas(positive, scores, weights)
        rows.append({"class": name, **shares, **areas})
    return pd.DataFrame(rows, columns=["class", *METRICS])


def macro_average(table: pd.DataFrame) -> dict[str, float]:
    """The mean of each of METRICS over those classes of `by_class` that have it."""
    return {metric: float(table[metric].mean()) for metric in METRICS}


def _shares(positive: np.ndarray, called: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    hit, missed = weights[positive & called].sum(), weights[positive & ~called].sum()
    spared, alarmed = weights[~positive & ~called].sum(), weights[~positive & called].sum()
    return {
        "accuracy": _share(hit + spared, missed + alarmed),
        "sensitivity": _share(hit, missed),
        "specificity": _share(spared, alarmed),
        "f1": _share(2 * hit, missed + alarmed),
        "ppv": _share(hit, alarmed),
        "npv": _share(spared, missed),
    }


def _share(right: float, wrong: float) -> float:
    """The share that is right, 1 if there is nothing."""
    return float(right / (right + wrong)) if right + wrong > 0 else 1.0


def _areas(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    if not weights[positive].any() or not weights[~positive].any():
        return dict.fromkeys(AREAS, float("nan"))
    auc, precision = weighted.areas(positive, scores, weights[None])
    above = auc_above(positive, scores, weights, SENSITIVITY)
    return dict(zip(AREAS, (float(auc[0]), above, float(precision[0])), strict=True))


def auc_above(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray, sensitivity: float) -> float:
    """The area under the ROC curve to the right of where it reaches `sensitivity`, down to the axis, not rescaled.

    Args:
        positive: bool [N]; some weight is on either kind.
        scores: float64 [N].
        weights: float64 [N].
        sensitivity: above 0, at most 1.
    """
    order = np.argsort(-scores, kind="stable")
    # A point of the curve for every score that occurs: images of equal scores are called together.
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    true, false = (
        np.append(0.0, sums[last] / sums[-1])
        for sums in (np.cumsum(np.where(own, weights, 0)[order]) for own in (positive, ~positive))
    )
    first = int(np.searchsorted(true, sensitivity, side="left"))
    start = np.interp(sensitivity, true[first - 1 : first + 1], false[first - 1 : first + 1])
    rates, hits = np.append(start, false[first:]), np.append(sensitivity, true[first:])
    return float(np.trapezoid(hits, rates))
