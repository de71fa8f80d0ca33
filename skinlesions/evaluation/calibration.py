"""Probabilities that mean what they say, and how far they do.

What is fitted is fitted on the validation images of a fold and applied to the test images of the same fold, which it
never saw:

- temperature scaling: one number divides all logits of a model, without a change of the predicted class (Guo et al.,
  "On calibration of modern neural networks", ICML 2017);
- vector scaling: each class has a factor and a shift of its own (the same paper), drawn towards the temperature.

What follows from the balancing plan alone is the correction of the prior: training against the imbalance makes rare
classes look commoner than they are, by a known amount that `natural_logits` takes back. NumPy, SciPy and pandas are
all it needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy.optimize import brentq, minimize
from scipy.sparse import csr_array

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.core.names import CALIBRATION_NAMES as WAY_NAMES
from skinlesions.core.names import METRIC_NAMES
from skinlesions.data import balancing, predictions
from skinlesions.evaluation import bootstrap
from skinlesions.evaluation.metrics import CALIBRATION_BINS, equal_mass_bins, softmax

WAYS = tuple(WAY_NAMES)

# What the other ways are compared with.
REFERENCE = "as_trained"

# Beyond these a temperature says that the logits are perfect or worthless on the validation images, not how far off.
LOWEST, HIGHEST = 0.01, 100.0

# How far, as standard deviations of a normal prior, the factors of vector scaling may be from 1 and its shifts from 0.
# A validation fold has about 20 images of the rarest class: without a prior their few errors would set its shift.
FACTOR_PRIOR, SHIFT_PRIOR = 0.25, 1.0

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

RELIABILITY_COLUMNS = ("model", "way", "dx", "bin", "images", "confidence", "share", "low", "high")

Fit = TypeVar("Fit")


def temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """The temperature T in [LOWEST, HIGHEST] for which softmax(logits / T) has the least negative log-likelihood.

    The likelihood is concave in 1 / T, so T is where its slope crosses zero; a root is found to the last digits,
    where a search for the minimum itself would stop halfway and differ from machine to machine.

    Args:
        labels: the true class of every image, int [N].
        logits: float [N, C].

    Raises:
        ValueError: there are no images, or the shapes disagree.
    """
    labels, logits = np.asarray(labels, dtype=np.int64), np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or len(logits) == 0 or labels.shape != logits.shape[:1]:
        raise ValueError(f"labels {labels.shape} and logits {logits.shape} must be [N] and [N, C] with N > 0")
    true_logit = logits[np.arange(len(labels)), labels].mean()

    def slope(log_temperature: float) -> float:
        """Expected logit under the scaled probabilities, less the logit of the true class, averaged over images."""
        return float((softmax(logits * np.exp(-log_temperature)) * logits).sum(axis=1).mean() - true_logit)

    low, high = np.log(LOWEST), np.log(HIGHEST)
    if slope(low) <= 0:
        return LOWEST
    if slope(high) >= 0:
        return HIGHEST
    return float(np.exp(brentq(slope, low, high, xtol=1e-12)))


def fold_fits(table: pd.DataFrame, fit: Callable[[np.ndarray, np.ndarray], Fit]) -> dict[int, Fit]:
    """What `fit` makes of the labels and logits of the validation rows, for the model of every fold in `table`."""
    val = predictions.select(table, "val")
    labels, logits, fold = predictions.labels(val), predictions.logits(val), val["fold"].to_numpy()
    return {int(k): fit(labels[fold == k], logits[fold == k]) for k in np.unique(fold)}


def fold_temperatures(table: pd.DataFrame) -> dict[int, float]:
    """The temperature of every fold's model in the predictions `table`, fitted on its validation rows."""
    return fold_fits(table, temperature)


@dataclass(frozen=True)
class VectorScaling:
    """What vector scaling does to logits: logits * factors + shifts, both float64 [C]."""

    factors: np.ndarray
    shifts: np.ndarray

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """The scaled logits, float64 [..., C]."""
        return np.asarray(logits, dtype=np.float64) * self.factors + self.shifts


def vector_scaling(
    labels: np.ndarray, logits: np.ndarray, factor_prior: float = FACTOR_PRIOR, shift_prior: float = SHIFT_PRIOR
) -> VectorScaling:
    """The factors and shifts of the classes with the least penalised negative log-likelihood.

    The logits are scaled by their temperature first. The penalty is that of normal priors on the factors, around 1,
    and on the shifts, around 0. The sum is strictly convex, so there is one minimum, which Newton steps with a trust
    region find to the last digits.

    Args:
        labels: the true class of every image, int [N].
        logits: float [N, C].
        factor_prior: the standard deviation of a factor's prior; infinite: none.
        shift_prior: the same of a shift.

    Raises:
        ValueError: as `temperature` does.
    """
    labels = np.asarray(labels, dtype=np.int64)
    overall = temperature(labels, logits)
    # One order in memory, so that sums end in the same digits wherever the logits come from.
    scaled = np.ascontiguousarray(logits, dtype=np.float64) / overall
    classes = scaled.shape[1]
    truth = np.eye(classes)[labels]
    start = np.repeat([1.0, 0.0], classes)
    precision = np.repeat([factor_prior**-2.0, shift_prior**-2.0], classes)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """The penalised negative log-likelihood, and its gradient [2 C]."""
        moved = scaled * parameters[:classes] + parameters[classes:]
        moved -= moved.max(axis=1, keepdims=True)
        log_probabilities = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
        excess = np.exp(log_probabilities) - truth
        gradient = np.r_[(excess * scaled).sum(axis=0), excess.sum(axis=0)]
        away = parameters - start
        value = -(log_probabilities * truth).sum() + (precision * away**2).sum() / 2
        return value, gradient + precision * away

    def curvature(parameters: np.ndarray) -> np.ndarray:
        """The Hessian, [2 C, 2 C]."""
        probabilities = softmax(scaled * parameters[:classes] + parameters[classes:])
        slopes = np.concatenate([scaled * probabilities, probabilities], axis=1)
        corner = np.einsum("nc,nc->c", scaled, scaled * probabilities)
        cross, plain = (scaled * probabilities).sum(axis=0), probabilities.sum(axis=0)
        own = np.block([[np.diag(corner), np.diag(cross)], [np.diag(cross), np.diag(plain)]])
        return own - slopes.T @ slopes + np.diag(precision)

    found = minimize(loss, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-8 * len(labels)})
    return VectorScaling(found.x[:classes] / overall, found.x[classes:])


def natural_logits(logits: np.ndarray, plan: balancing.Plan, class_counts: np.ndarray) -> np.ndarray:
    """The logits that the same network would have learned without the balancing plan, float64 [N, 7].

    A loss in which images of class c count w_c times, by a weight or by being seen that often, is least at
    probabilities proportional to w_c p(c | x), so that log w_c is subtracted (Elkan, "The foundations of cost-sensitive
    learning", IJCAI 2001). A loss of logits + offset is least where logits + offset are those of p(c | x), so that the
    offset is added. The focal loss with exponent g is least at q where p(c | x) is proportional to
    q_c / ((1 - q_c)^g - g (1 - q_c)^(g - 1) q_c log q_c) (Charoenphakdee et al., "On focal loss for class-posterior
    probability estimation", CVPR 2021).

    This holds at the minimum: of a network that was stopped early or that overfits, a temperature has to do the rest.

    Args:
        logits: float [N, 7].
        plan: what was done against the imbalance.
        class_counts: int [7], of the images that the network was trained on.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if plan.gamma > 0:
        probabilities = np.maximum(softmax(logits), np.finfo(np.float64).tiny)
        # By summing the others, because 1 - q is 0 long before the others are.
        rest = probabilities @ (1 - np.eye(logits.shape[1]))
        flattened = rest - plan.gamma * probabilities * np.log(probabilities)
        logits = np.log(probabilities) - (plan.gamma - 1) * np.log(rest) - np.log(flattened)
    labels = np.repeat(np.arange(len(class_counts)), class_counts)
    seen = balancing.counts(labels[balancing.sample(plan, labels, seed=0)])
    counted = balancing.class_weights(plan, class_counts) * seen / np.maximum(class_counts, 1)
    return logits - np.log(np.where(class_counts > 0, counted, 1)) + balancing.logit_offset(plan, class_counts)


def training_counts(table: pd.DataFrame) -> dict[int, np.ndarray]:
    """How many images of each class the model of every fold in the predictions `table` was trained on, int64 [7]."""
    counts = {}
    for k in np.unique(table["fold"]):
        of_model = table.loc[table["fold"] == k, "image_id"]
        trained = predictions.select(table, "test")
        counts[int(k)] = balancing.counts(predictions.labels(trained[~trained["image_id"].isin(of_model)]))
    return counts


def without_plan(table: pd.DataFrame, plan: balancing.Plan) -> pd.DataFrame:
    """The predictions `table` with `natural_logits` for logits, in test and validation rows."""
    corrected, columns = table.copy(), list(predictions.LOGIT_COLUMNS)
    for k, class_counts in training_counts(table).items():
        rows = table["fold"] == k
        corrected.loc[rows, columns] = natural_logits(predictions.logits(table[rows]), plan, class_counts)
    return corrected


def rebalanced(probabilities: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """What `probabilities` would be if all classes were equally common, float64 [N, C].

    The class with the greatest of these is the best answer for balanced accuracy, as the class with the greatest
    probability is for accuracy.

    Args:
        probabilities: float [N, C], calibrated where the classes have `shares`.
        shares: of the images, [C] or one row for each image [N, C]; those of the training images. A class without
            any keeps its probability.
    """
    scaled = np.asarray(probabilities, dtype=np.float64) / np.where(np.asarray(shares) > 0, shares, 1)
    return scaled / scaled.sum(axis=1, keepdims=True)


def probabilities(table: pd.DataFrame, split: str, way: str, plan: balancing.Plan | None = None) -> np.ndarray:
    """The probabilities of the rows of `split` by one of WAYS, float64 [N, 7].

    - as_trained: the softmax of the logits.
    - temperature and vector: after the scaling of that name, fitted on the validation rows of each fold. Those of the
      validation rows themselves are therefore those that the scaling was fitted to.
    - prior_corrected: without the balancing plan. prior_corrected_temperature: the same after temperature scaling.

    The first two predict the same classes. Beside vector and prior_corrected, which state how common the classes are
    in the data, `rebalanced` gives the predictions for balanced accuracy.

    Args:
        table: the predictions of a model, with both splits.
        split: test or val; rows are in the order of predictions.select(table, split).
        way: one of WAYS.
        plan: what was done against the imbalance; only the prior-corrected ways ask for it.

    Raises:
        ValueError: the way or the split is unknown, or a plan is needed.
    """
    if way not in WAYS:
        raise ValueError(f"unknown way {way!r} to make probabilities; known: {', '.join(WAYS)}")
    if way.startswith("prior_corrected"):
        if plan is None:
            raise ValueError(f"{way} takes a balancing plan back, and needs it")
        table = without_plan(table, plan)
    rows = predictions.select(table, split)
    logits, fold = predictions.logits(rows), rows["fold"]
    if way.endswith("temperature"):
        logits = logits / fold.map(fold_temperatures(table)).to_numpy()[:, None]
    if way == "vector":
        logits = logits.copy()
        for k, scaling in fold_fits(table, vector_scaling).items():
            logits[fold == k] = scaling(logits[fold == k])
    return softmax(logits)


# --- how far they mean it ---------------------------------------------------------------------------------------


def tables(
    labels: np.ndarray,
    scored: dict[str, dict[str, np.ndarray]],
    weights: np.ndarray,
    confidence: float,
    drawn: Sequence[str],
) -> dict[str, pd.DataFrame]:
    """Everything about calibration that is tabulated.

    - calibration: model, way; nll, brier and ece as in evaluation.metrics, and class_ece, the mean over the classes
      of the same error of the probability of each class (Kull et al., "Beyond temperature scaling", NeurIPS 2019);
      nll_change, the nll less that of the model as trained. All with intervals. Unlike ece, which is about the
      predicted class, class_ece sees a rare class that is overcalled.
      ece_chance and class_ece_chance are what the errors of honest probabilities would be expected to be: a mean of
      absolute values is never 0.
    - class_calibration: model, way, dx; stated (the mean probability of the class), share (of the images), and error,
      their difference, with interval: above 0 where the class is stated too often.
    - reliability: model, way, and the columns of `reliability`.

    Args:
        labels: int [N], positions in CLASSES.
        scored: by model and way, float64 [N, 7]; a model may lack some of WAYS.
        weights: how often each image counts in each resample of the lesions, [R, N].
        confidence: of the percentile intervals.
        drawn: the models of the last two tables.

    Raises:
        UserError: one of `drawn` is not among the models.
    """
    if unknown := sorted(set(drawn) - set(scored)):
        raise UserError(f"calibration is drawn for {unknown[0]!r}, which is not among {', '.join(scored)}")
    shown = {(model, way): stated for model in drawn for way, stated in scored[model].items()}
    diagrams = [
        reliability(labels, stated, weights, confidence).assign(model=model, way=way)
        for (model, way), stated in shown.items()
    ]
    return {
        "calibration": _overall(labels, scored, weights, confidence),
        "class_calibration": _by_class(labels, shown, weights, confidence),
        "reliability": pd.concat(diagrams, ignore_index=True)[list(RELIABILITY_COLUMNS)],
    }


def reliability(
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
    parts = np.array_split(weights, max(1, weights.size // bootstrap.CHUNK_NUMBERS))
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
    likelihood = np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(np.float64).eps)
    scores = {
        "nll": -np.log(likelihood),
        "brier": ((probabilities - np.eye(len(CLASSES))[labels]) ** 2).sum(axis=1),
        "ece": errors[0],
        "class_ece": errors[1:].mean(axis=0),
    }
    return scores, {"ece": chance[0], "class_ece": chance[1:].mean()}


def _overall(
    labels: np.ndarray, scored: dict[str, dict[str, np.ndarray]], weights: np.ndarray, confidence: float
) -> pd.DataFrame:
    """The table `calibration`."""
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


def _by_class(
    labels: np.ndarray, shown: dict[tuple[str, str], np.ndarray], weights: np.ndarray, confidence: float
) -> pd.DataFrame:
    """The table `class_calibration`, of the probabilities by model and way."""
    truth = np.eye(len(CLASSES))[labels]
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
    parts = np.array_split(weights, max(1, weights.size // bootstrap.CHUNK_NUMBERS))
    sums = np.concatenate([part.astype(np.float64) @ columns.T for part in parts])
    draws = sums / weights.sum(axis=1, dtype=np.float64)[:, None]
    low, high = np.transpose([bootstrap.percentile_interval(values, confidence) for values in draws.T])
    return columns.mean(axis=1), low, high
