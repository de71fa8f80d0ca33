"""Probabilities that mean what they say, and how far they do.

What is fitted is fitted on the validation images of a fold and applied to the test images of the same fold, which it
never saw:

- temperature scaling: one number divides all logits of a model, without a change of the predicted class (Guo et al.,
  "On calibration of modern neural networks", ICML 2017);
- vector scaling: each class has a factor and a shift of its own (the same paper), drawn towards the temperature.

What follows from the balancing plan alone is the correction of the prior: training against the imbalance makes rare
classes look commoner than they are, by a known amount that `natural_logits` takes back.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq, minimize

from skinlesions import balancing, intervals, predictions
from skinlesions.dataset.schema import CLASSES
from skinlesions.metrics import CALIBRATION_BINS, equal_mass_bins, softmax

# Beyond these a temperature says that the logits are perfect or worthless on the validation images, not how far off.
LOWEST, HIGHEST = 0.01, 100.0

# How far, as standard deviations of a normal prior, the factors of vector scaling may be from 1 and its shifts from 0.
# A validation fold has about 20 images of the rarest class: without a prior their few errors would set its shift.
FACTOR_PRIOR, SHIFT_PRIOR = 0.25, 1.0

# The row of a reliability table that is about the predicted class, whichever it is.
PREDICTED = "predicted"


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


def fold_temperatures(table: pd.DataFrame) -> dict[int, float]:
    """The temperature of every fold's model in the predictions `table`, fitted on its validation rows."""
    val = predictions.select(table, "val")
    labels, logits, fold = predictions.labels(val), predictions.logits(val), val["fold"].to_numpy()
    return {int(k): temperature(labels[fold == k], logits[fold == k]) for k in np.unique(fold)}


def calibrated_probabilities(table: pd.DataFrame, temperatures: dict[int, float]) -> np.ndarray:
    """The probabilities of the test rows of `table`, each scaled by the temperature of its fold, float64 [N, 7].

    Rows are in the order of predictions.select(table, "test").
    """
    test = predictions.select(table, "test")
    return softmax(predictions.logits(test) / test["fold"].map(temperatures).to_numpy()[:, None])


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


def fold_vector_scalings(table: pd.DataFrame) -> dict[int, VectorScaling]:
    """The vector scaling of every fold's model in the predictions `table`, fitted on its validation rows."""
    val = predictions.select(table, "val")
    labels, logits, fold = predictions.labels(val), predictions.logits(val), val["fold"].to_numpy()
    return {int(k): vector_scaling(labels[fold == k], logits[fold == k]) for k in np.unique(fold)}


def vector_scaled_probabilities(table: pd.DataFrame, scalings: dict[int, VectorScaling]) -> np.ndarray:
    """The probabilities of the test rows of `table`, each under the scaling of its fold, float64 [N, 7].

    Rows are in the order of predictions.select(table, "test").
    """
    test = predictions.select(table, "test")
    logits, fold = predictions.logits(test), test["fold"].to_numpy()
    scaled = np.empty_like(logits)
    for k, scaling in scalings.items():
        scaled[fold == k] = scaling(logits[fold == k])
    return softmax(scaled)


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


def ways(table: pd.DataFrame, plan: balancing.Plan) -> dict[str, np.ndarray]:
    """The probabilities of the test rows of `table` by every way to make them, float64 [N, 7] each.

    - as_trained: the softmax of the logits.
    - temperature and vector: after the scaling of that name.
    - prior_corrected: without the balancing plan. prior_corrected_temperature: the same after temperature scaling.

    The first two predict the same classes. Beside vector and prior_corrected, which state how common the classes are
    in the data, `rebalanced` gives the predictions for balanced accuracy. Rows are in the order of
    predictions.select(table, "test").
    """
    corrected = without_plan(table, plan)
    return {
        "as_trained": softmax(predictions.logits(predictions.select(table, "test"))),
        "temperature": calibrated_probabilities(table, fold_temperatures(table)),
        "vector": vector_scaled_probabilities(table, fold_vector_scalings(table)),
        "prior_corrected": softmax(predictions.logits(predictions.select(corrected, "test"))),
        "prior_corrected_temperature": calibrated_probabilities(corrected, fold_temperatures(corrected)),
    }


def class_calibration_errors(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None, bins: int = CALIBRATION_BINS
) -> np.ndarray:
    """The expected calibration error of the probability of each class, float64 [C], or [R, C] with weights.

    For each class, the mean over equal-mass bins of its probability of |share of the class - mean probability|,
    weighted by the images in each; the mean over classes is the class-wise error of Kull et al. 2019. Unlike the error
    of the predicted class (`ece` of skinlesions.metrics), it sees a rare class that is overcalled.

    Args:
        labels: int [N].
        probabilities: float [N, C].
        weights: how often each image counts, [R, N]; None: once. The bins do not move with the weights.
        bins: how many.
    """
    counted = np.ones((1, len(labels))) if weights is None else np.asarray(weights, dtype=np.float64)
    errors = []
    for k in range(probabilities.shape[1]):
        excess = (labels == k) - probabilities[:, k]
        members = np.eye(bins)[equal_mass_bins(probabilities[:, k], bins)]
        errors.append(np.abs(counted @ (excess[:, None] * members)).sum(axis=1) / counted.sum(axis=1))
    stacked = np.stack(errors, axis=1)
    return stacked[0] if weights is None else stacked


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
    predicted = probabilities.argmax(axis=1)
    curves = [(PREDICTED, probabilities.max(axis=1), labels == predicted)]
    curves += [(name, probabilities[:, k], labels == k) for k, name in enumerate(CLASSES)]
    weights = np.asarray(weights, dtype=np.float64)
    rows = []
    for name, stated, right in curves:
        bin_of = equal_mass_bins(stated, bins)
        for number in np.unique(bin_of):
            rows_in = np.flatnonzero(bin_of == number)
            drawn = np.take(weights, rows_in, axis=1)
            total = drawn.sum(axis=1)
            shares = (drawn @ right[rows_in])[total > 0] / total[total > 0]
            rows.append(
                {
                    "dx": name,
                    "bin": int(number),
                    "images": len(rows_in),
                    "confidence": stated[rows_in].mean(),
                    "share": right[rows_in].mean(),
                }
                | dict(zip(("low", "high"), intervals.percentile_interval(shares, confidence), strict=True))
            )
    return pd.DataFrame(rows)
