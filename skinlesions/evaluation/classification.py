"""Tables of one model's classification: the confusion matrix in long form, and the report by class."""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support, roc_auc_score

from skinlesions.core.classes import CLASSES
from skinlesions.evaluation.weighted import ratio


def confusion_table(model: str, labels: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """How many images of each class were called what.

    Args:
        labels: int [N], positions in CLASSES.
        predicted: the same of what the model calls each image.

    Returns:
        model, dx (the truth), predicted, images, share (of the images of the true class; NaN if there are none).
    """
    counts = confusion_matrix(labels, predicted, labels=range(len(CLASSES)))
    return pd.DataFrame(
        {
            "model": model,
            "dx": np.repeat(CLASSES, len(CLASSES)),
            "predicted": np.tile(CLASSES, len(CLASSES)),
            "images": counts.ravel(),
            "share": ratio(counts, counts.sum(axis=1, keepdims=True)).ravel(),
        }
    )


def report_by_class(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Precision, recall, specificity, F1 and the areas under two curves of every class against the rest.

    `auc` is the area under the ROC curve, `average_precision` that under precision and recall. For intervals of the
    same scores see skinlesions.evaluation.metrics.ALL_METRICS.

    Args:
        labels: int [N], positions in CLASSES.
        probabilities: float [N, 7].

    Returns:
        dx, images, called, precision, recall, specificity, f1, auc, average_precision; the last two rows are the
        macro and the weighted mean. What is undefined, such as the precision of a class that is never called, is 0.
    """
    predicted = probabilities.argmax(axis=1)
    positions = np.arange(len(CLASSES))
    precision, recall, f1, images = precision_recall_fscore_support(
        labels, predicted, labels=positions, zero_division=0
    )
    counts = confusion_matrix(labels, predicted, labels=range(len(CLASSES)))
    others = counts.sum() - counts.sum(axis=1)
    false_alarms = counts.sum(axis=0) - np.diag(counts)
    scores = {
        "precision": precision,
        "recall": recall,
        "specificity": 1 - false_alarms / np.maximum(others, 1),
        "f1": f1,
        "auc": [
            roc_auc_score(labels == position, probabilities[:, position])
            if 0 < images[position] < images.sum()
            else 0.0
            for position in positions
        ],
        "average_precision": [
            average_precision_score(labels == position, probabilities[:, position]) if images[position] else 0.0
            for position in positions
        ],
    }
    by_class = pd.DataFrame({"dx": CLASSES, "images": images, "called": counts.sum(axis=0), **scores})
    means = [
        {"dx": name, "images": images.sum(), "called": counts.sum()}
        | {score: np.average(values, weights=weights) for score, values in scores.items()}
        for name, weights in (("macro mean", None), ("weighted mean", images))
    ]
    return pd.concat([by_class, pd.DataFrame(means)], ignore_index=True)
