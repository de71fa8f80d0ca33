"""The balancing strategies compared, and a second opinion on the heads: scikit-learn's logistic regression."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinlesions.core.classes import CLASSES
from skinlesions.data import splits
from skinlesions.evaluation import bootstrap, metrics

ITERATIONS = 200


def logistic_regression(
    features: np.ndarray, labels: np.ndarray, fold: np.ndarray, inverse_strength: float, *, train_on_validation: bool
) -> np.ndarray:
    """The out-of-fold probabilities of a class-balanced multinomial logistic regression, float64 [N, 7].

    Args:
        features: [N, D], standardised with the mean and deviation of the training part.
        labels: int [N], positions in CLASSES; each class occurs in each training part.
        fold: int [N], 0 to K - 1.
        inverse_strength: of the L2 penalty, scikit-learn's C.
        train_on_validation: whether the validation fold is trained on too. It has nothing else to do here: there is no
            early stopping. The difference says what setting it aside costs the heads.
    """
    folds = int(fold.max()) + 1
    probabilities = np.zeros((len(labels), len(CLASSES)))
    for number in range(folds):
        training, validation, test = splits.roles(fold, number, folds)
        if train_on_validation:
            training = np.concatenate([training, validation])
        classifier = make_pipeline(
            StandardScaler(), LogisticRegression(C=inverse_strength, class_weight="balanced", max_iter=ITERATIONS)
        )
        classifier.fit(features[training], labels[training])
        probabilities[test] = classifier.predict_proba(features[test])
    return probabilities


def scores(features: np.ndarray, labels: np.ndarray, fold: np.ndarray, inverse_strength: float) -> pd.DataFrame:
    """The metrics of the logistic regression without and with the validation fold: trained_on, then each of METRICS."""
    parts = {"training folds": False, "training and validation folds": True}
    rows = []
    for name, both in parts.items():
        probabilities = logistic_regression(features, labels, fold, inverse_strength, train_on_validation=both)
        rows.append({"trained_on": name} | metrics.summary(labels, probabilities))
    return pd.DataFrame(rows)


def summarise(
    logits: dict[str, tuple[np.ndarray, np.ndarray]],
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """The strategies compared, on the same resamples of the lesions.

    Args:
        logits: by strategy, the logits of every image [N, 7] from the network that validates on it, and from the one
            that is tested on it.
        labels: int [N].
        groups: the lesion of every image [N].
        confidence: of the intervals of the balanced accuracy on the test folds.

    Returns:
        strategy, validation_balanced_accuracy; of the test folds balanced_accuracy, low, high, and every other metric
        of metrics.METRICS. In the order of `logits`.
    """
    weights = bootstrap.lesion_resamples(groups, labels, resamples, seed)
    rows = []
    for strategy, (validation, test) in logits.items():
        probabilities = metrics.softmax(test)
        estimates = metrics.summary(labels, probabilities)
        draws = bootstrap.bootstrap(labels, probabilities, weights)["balanced_accuracy"]
        low, high = bootstrap.percentile_interval(draws, confidence)
        validated = metrics.summary(labels, metrics.softmax(validation))["balanced_accuracy"]
        head = {"strategy": strategy, "validation_balanced_accuracy": validated}
        score = {"balanced_accuracy": estimates.pop("balanced_accuracy"), "low": low, "high": high}
        rows.append(head | score | estimates)
    return pd.DataFrame(rows)


def choose(table: pd.DataFrame, strategy: str) -> str:
    """The strategy that goes to training: `strategy`, or with `auto` the best on the *validation* folds.

    The test folds have no say: what they show of the chosen strategy stays an honest estimate.
    """
    if strategy != "auto":
        return strategy
    return str(table.loc[table["validation_balanced_accuracy"].idxmax(), "strategy"])
