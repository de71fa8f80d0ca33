"""Multinomial logistic regression with a normal prior: what vector scaling and stacking both are.

The logit of every class is a sum of inputs of that class, each times a coefficient of its own; no class reads the
inputs of another one. NumPy and SciPy are all it needs.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax


def fit(labels: np.ndarray, inputs: np.ndarray, centre: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """The coefficients with the least penalised negative log-likelihood, float64 [P, C].

    The penalty is that of independent normal priors, and makes the loss strictly convex, so that there is one minimum,
    which Newton steps in a trust region find to the last digits.

    Args:
        labels: the true classes, int [N].
        inputs: P inputs of each class, float64 [N, P, C].
        centre: the means of the priors, where the search begins, float64 [P, C].
        deviation: their standard deviations, [P, C]; infinite: no prior.
    """
    count, _, classes = inputs.shape
    precision = np.asarray(deviation, dtype=np.float64) ** -2.0
    truth = np.eye(classes)[labels]

    def log_probabilities(parameters: np.ndarray) -> np.ndarray:
        """Those of the classes, float64 [N, C]."""
        return log_softmax(np.einsum("npc,pc->nc", inputs, parameters.reshape(centre.shape)), axis=1)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """The penalised negative log-likelihood, and its gradient."""
        stated = log_probabilities(parameters)
        away = parameters.reshape(centre.shape) - centre
        gradient = np.einsum("npc,nc->pc", inputs, np.exp(stated) - truth) + precision * away
        return float((precision * away**2).sum() / 2 - (stated * truth).sum()), gradient.ravel()

    def curvature(parameters: np.ndarray) -> np.ndarray:
        """The Hessian."""
        probabilities = np.exp(log_probabilities(parameters))
        slopes = (inputs * probabilities[:, None]).reshape(count, -1)
        second = -(slopes.T @ slopes).reshape(*centre.shape, *centre.shape)
        for k in range(classes):
            second[:, k, :, k] += (inputs[:, :, k] * probabilities[:, k, None]).T @ inputs[:, :, k]
        return second.reshape(centre.size, centre.size) + np.diag(precision.ravel())

    options = {"gtol": 1e-8 * count}
    found = minimize(loss, centre.ravel(), jac=True, hess=curvature, method="trust-exact", options=options)
    return found.x.reshape(centre.shape)
