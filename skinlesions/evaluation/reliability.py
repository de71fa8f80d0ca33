"""How far probabilities mean what they say: calibration errors, and reliability diagrams.

NumPy, SciPy and pandas are all it needs.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.core.names import METRIC_NAMES
from skinlesions.evaluation import bootstrap, weighted
from skinlesions.evaluation.weighted import CALIBRATION_BINS, equal_mass_bins

# The way that the others are compared with.
REFERENCE = "as_trained"

# The row of a reliability table that is about the predicted class, whichever it is.
PREDICTED = "predicted"

# How many resamples tell the error that chance alone would show: a mean over them, which settles quickly.
CHANCE_RESAMPLES = 200

# The scores of the table `calibration`, and those that chance alone puts above 0.
SCORE_NAMES = {
    "nll": METRIC_NAMES["nll"],
    "nll_change": f"change of the {METRIC_NAMES['nll']}",
    "brier": METRIC_NAMES["brier"],
    "ece": METRIC_NAMES["ece"],
    "class_ece": "class-wise calibration error",
}
SCORES = tuple(SCORE_NAMES)
CHANCES = ("ece", "class_ece")

COLUMNS = ("model", "way", "dx", "bin", "images", "confidence", "share", "low", "high")

# By model and way, the probabilities, float64 [N, 7]; a model may lack some of calibration.WAYS.
Scored = Mapping[str, Mapping[str, np.ndarray]]


def tables(
    labels: np.ndarray,
    scored: Scored,
    weights: np.ndarray,
    confidence: float,
    drawn: Sequence[str],
) -> dict[str, pd.DataFrame]:
    """Everything about calibration that is tabulated.

    Args:
        labels: int [N], positions in CLASSES.
        scored: the probabilities.
        weights: how often each image counts in each resample of the lesions, [R, N].
        confidence: of the percentile intervals.
        drawn: the models of the tables `class_calibration` and `reliability`.

    Raises:
        UserError: one of `drawn` is not among the models.
    """
    if unknown := sorted(set(drawn) - set(scored)):
        raise UserError(f"calibration is drawn for {unknown[0]!r}, which is not among {', '.join(scored)}")
    shown = {model: scored[model] for model in drawn}
    return {
        "calibration": calibration_errors(labels, scored, weights, confidence),
        "class_calibration": class_calibration(labels, shown, weights, confidence),
        "reliability": diagrams(labels, shown, weights, confidence),
    }


def diagrams(labels: np.ndarray, scored: Scored, weights: np.ndarray, confidence: float) -> pd.DataFrame:
    """The reliability diagram of every model and way: COLUMNS, as `diagram` gives them.

    The arguments are those of `tables`.
    """
    parts = [
        diagram(labels, stated, weights, confidence).assign(model=model, way=way)
        for model, by_way in scored.items()
        for way, stated in by_way.items()
    ]
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def diagram(
    labels: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray,
    confidence: float,
    bins: int = CALIBRATION_BINS,
) -> pd.DataFrame:
    """What a reliability diagram shows: how often images of about equal confidence are right, with intervals.

    Args:
        labels: int [N], positions in CLASSES.
        probabilities: float [N, 7].
        weights: how often each image counts in each resample of the lesions, [R, N].
        confidence: of the intervals.
        bins: how many equal-mass bins; those that ties leave empty are left out.

    Returns:
        dx ("predicted" for the predicted class whichever it is, then each of CLASSES), bin, images, confidence (the
        mean probability), share (of images that are of that class), low and high (of the share). Resamples in which a
        bin has no images are left out of its interval.
    """
    names, stated, right = _curves(labels, probabilities)
    bin_of = np.stack([equal_mass_bins(column, bins) for column in stated])
    images = np.bincount(_cells(bin_of, bins).ravel())
    both = np.concatenate([np.ones(stated.shape), right])
    drawn, hits = np.split(_binned(weights, both, np.tile(bin_of, (2, 1)), bins), 2, axis=1)
    rows = []
    for cell in np.flatnonzero(images):
        curve, number = divmod(cell, bins)
        inside, counts = bin_of[curve] == number, drawn[:, cell] > 0
        low, high = bootstrap.percentile_interval(hits[counts, cell] / drawn[counts, cell], confidence)
        means = {"confidence": stated[curve, inside].mean(), "share": right[curve, inside].mean()}
        rows.append({"dx": names[curve], "bin": number, "images": images[cell], **means, "low": low, "high": high})
    return pd.DataFrame(rows)


def _curves(labels: np.ndarray, probabilities: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    """What is stated of each image and whether it is so, for the predicted class and then for each of CLASSES.

    Returns:
        the names of the curves [K]; the probabilities, float64 [K, N]; whether the image is of that class, bool [K, N].
    """
    stated = np.concatenate([probabilities.max(axis=1)[None], probabilities.T])
    right = [labels == probabilities.argmax(axis=1), *(labels == k for k in range(len(CLASSES)))]
    return [PREDICTED, *CLASSES], stated, np.stack(right)


def _cells(bin_of: np.ndarray, bins: int) -> np.ndarray:
    """The bins [K, N] of K curves, numbered through, int64 [K, N]."""
    return bin_of + bins * np.arange(len(bin_of))[:, None]


def _binned(weights: np.ndarray, values: np.ndarray, bin_of: np.ndarray, bins: int) -> np.ndarray:
    """The weighted sums of `values` [K, N] of K curves in their bins [K, N], float64 [R, K × bins], for weights [R, N].

    An image is in one bin of each curve, which leaves the matrix of the bins nearly empty.
    """
    curves, count = values.shape
    place = (_cells(bin_of, bins).ravel(), np.tile(np.arange(count), curves))
    cells = csr_array((values.ravel().astype(np.float64), place), shape=(curves * bins, count))
    parts = weighted.chunks(weights)
    return np.concatenate([(cells @ np.ascontiguousarray(part.T, dtype=np.float64)).T for part in parts])


def _scores(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, bins: int = CALIBRATION_BINS
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """What each image adds to the scores of the table `calibration`, and what chance adds to two of them.

    A calibration error is the mean over images of what is stated too much, with the sign that this has in the bin of
    the image. In a resample the signs stay as they are, like the bins: if they followed it, the noise of every bin
    would add to the error, and the resamples would lie above the error that they are resamples of.

    By chance alone, the gap of a bin between what is stated and what is so would move around 0 as far as it moves from
    resample to resample.

    Args:
        weights: [R, N]; a mean over them settles quickly, so that some hundred are enough.

    Returns:
        by score, float64 [N], whose mean is the score; by calibration error, what honest probabilities would show.
    """
    _, stated, right = _curves(labels, probabilities)
    bin_of, excess = np.stack([equal_mass_bins(column, bins) for column in stated]), stated - right
    gaps = np.bincount(_cells(bin_of, bins).ravel(), excess.ravel(), minlength=len(stated) * bins)
    errors = excess * np.sign(gaps)[_cells(bin_of, bins)]
    drawn = _binned(weights, excess, bin_of, bins) / weights.sum(axis=1, dtype=np.float64)[:, None]
    chance = np.abs(drawn - gaps / len(labels)).mean(axis=0).reshape(len(stated), bins).sum(axis=1)
    nll, brier = weighted.losses(labels, probabilities)
    scores = {
        "nll": nll,
        "brier": brier,
        "ece": errors[0],
        "class_ece": errors[1:].mean(axis=0),
    }
    return scores, {"ece": chance[0], "class_ece": chance[1:].mean()}


def calibration_errors(labels: np.ndarray, scored: Scored, weights: np.ndarray, confidence: float) -> pd.DataFrame:
    """How far the probabilities of every model and way mean what they say.

    The arguments are those of `tables`.

    Returns:
        model, way; nll, brier and ece as in evaluation.metrics, and class_ece, the mean over the classes of the same
        error of the probability of each class (Kull et al., "Beyond temperature scaling", NeurIPS 2019), which unlike
        ece sees a rare class that is overcalled; nll_change, the nll less that of the model as trained, NaN without
        one. All with intervals. ece_chance and class_ece_chance are what the errors of honest probabilities would be
        expected to be: a mean of absolute values is never 0.
    """
    rows, columns = [], []
    for model, by_way in scored.items():
        found = {way: _scores(labels, stated, weights[:CHANCE_RESAMPLES]) for way, stated in by_way.items()}
        reference = found[REFERENCE][0]["nll"] if REFERENCE in found else np.full(len(labels), np.nan)
        for way, (scores, chance) in found.items():
            rows.append({"model": model, "way": way} | {f"{name}_chance": error for name, error in chance.items()})
            columns += [scores["nll"], scores["nll"] - reference, *(scores[name] for name in SCORES[2:])]
    table = pd.DataFrame(rows)
    estimates, low, high = (
        values.reshape(len(rows), len(SCORES)) for values in _with_intervals(np.stack(columns), weights, confidence)
    )
    for place, name in enumerate(SCORES):
        table[name], table[f"{name}_low"], table[f"{name}_high"] = estimates[:, place], low[:, place], high[:, place]
    # Not below 0, where the noise of the bins is greater than their error.
    errors = [f"{name}_low" for name in CHANCES]
    table[errors] = table[errors].clip(lower=0)
    named = [[name, f"{name}_low", f"{name}_high", *([f"{name}_chance"] if name in CHANCES else [])] for name in SCORES]
    return table[["model", "way", *chain.from_iterable(named)]]


def class_calibration(labels: np.ndarray, scored: Scored, weights: np.ndarray, confidence: float) -> pd.DataFrame:
    """Which classes are stated too often.

    The arguments are those of `tables`.

    Returns:
        model, way, dx; stated (the mean probability of the class), share (of the images), and error, their difference,
        with interval: above 0 where the class is stated too often.
    """
    truth = np.eye(len(CLASSES))[labels]
    shown = {(model, way): stated for model, by_way in scored.items() for way, stated in by_way.items()}
    excess = np.concatenate([(stated - truth).T for stated in shown.values()])
    rows = [
        {"model": model, "way": way, "dx": dx, "stated": stated[:, k].mean(), "share": truth[:, k].mean()}
        for (model, way), stated in shown.items()
        for k, dx in enumerate(CLASSES)
    ]
    error, low, high = _with_intervals(excess, weights, confidence)
    return pd.DataFrame(rows).assign(error=error, error_low=low, error_high=high)


def _with_intervals(columns: np.ndarray, weights: np.ndarray, confidence: float) -> tuple[np.ndarray, ...]:
    """The mean of each of `columns` [K, N], and the lower and upper ends of its interval, float64 [K] each."""
    # One product for all columns, because the weights are by far the larger matrix.
    sums = np.concatenate([part.astype(np.float64) @ columns.T for part in weighted.chunks(weights)])
    draws = sums / weights.sum(axis=1, dtype=np.float64)[:, None]
    low, high = np.transpose([bootstrap.percentile_interval(values, confidence) for values in draws.T])
    return columns.mean(axis=1), low, high
