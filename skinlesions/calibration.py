"""Temperature scaling: probabilities that mean what they say, without a change of the predicted class.

One number divides all logits of a model (Guo et al., "On calibration of modern neural networks", ICML 2017). It is
fitted on the validation images of a fold and applied to the test images of the same fold, which it never saw.
"""

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from skinlesions import predictions
from skinlesions.metrics import softmax

# Beyond these a temperature says that the logits are perfect or worthless on the validation images, not how far off.
LOWEST, HIGHEST = 0.01, 100.0


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
