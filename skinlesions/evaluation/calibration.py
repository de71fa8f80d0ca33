"""Probabilities that mean what they say; `reliability` measures how far they do.

What is fitted is fitted on the validation images of a fold and applied to the test images of the same fold, which it
never saw:

- temperature scaling: one number divides all logits of a model, without a change of the predicted class (Guo et al.,
  "On calibration of modern neural networks", ICML 2017);
- vector scaling: each class has a factor and a shift of its own (the same paper), drawn towards the temperature.

What follows from the balancing plan alone is the correction of the prior: training against the imbalance makes rare
classes look commoner than they are, by a known amount that `natural_logits` takes back. NumPy, SciPy and pandas are
all it needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from skinlesions.core.classes import LOGIT_COLUMNS
from skinlesions.core.names import CALIBRATION_NAMES
from skinlesions.data import balancing, predictions
from skinlesions.evaluation import softmax_regression
from skinlesions.evaluation.metrics import softmax

WAYS = tuple(CALIBRATION_NAMES)

# Beyond these a temperature says that the logits are perfect or worthless on the validation images, not how far off.
LOWEST, HIGHEST = 0.01, 100.0

# How far, as standard deviations of a normal prior, the factors of vector scaling may be from 1 and its shifts from 0.
# A validation fold has about 20 images of the rarest class: without a prior their few errors would set its shift.
FACTOR_PRIOR, SHIFT_PRIOR = 0.25, 1.0

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


def temperatures(models: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The temperature of the network of every fold, of every model: model, fold, temperature, sorted.

    Args:
        models: the predictions of every model by its name.
    """
    rows = [
        (name, fold, value)
        for name, table in sorted(models.items())
        for fold, value in sorted(fold_temperatures(table).items())
    ]
    return pd.DataFrame(rows, columns=["model", "fold", "temperature"])


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
    and on the shifts, around 0.

    Args:
        labels: the true class of every image, int [N].
        logits: float [N, C].
        factor_prior: the standard deviation of a factor's prior; infinite: none.
        shift_prior: the same of a shift.

    Raises:
        ValueError: as `temperature` does.
    """
    overall = temperature(labels, logits)
    # One order in memory, so that sums end in the same digits wherever the logits come from.
    scaled = np.ascontiguousarray(logits, dtype=np.float64) / overall
    ones = np.ones_like(scaled[0])
    factors, shifts = softmax_regression.fit(
        np.asarray(labels, dtype=np.int64),
        np.stack([scaled, np.ones_like(scaled)], axis=1),
        centre=np.stack([ones, 0 * ones]),
        deviation=np.stack([factor_prior * ones, shift_prior * ones]),
    )
    return VectorScaling(factors / overall, shifts)


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
    corrected, columns = table.copy(), list(LOGIT_COLUMNS)
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


def every_way(table: pd.DataFrame, split: str, plan: balancing.Plan) -> dict[str, np.ndarray]:
    """The `probabilities` of the rows of `split` by each of WAYS; the plan is taken back once for those that ask it."""
    natural, prefix = without_plan(table, plan), "prior_corrected"
    found = {}
    for way in WAYS:
        corrected = way.startswith(prefix)
        rest = way.removeprefix(prefix).removeprefix("_") or "as_trained"
        found[way] = probabilities(natural, split, rest) if corrected else probabilities(table, split, way)
    return found
