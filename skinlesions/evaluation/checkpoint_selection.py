"""What choosing the checkpoint on the test images adds to their score.

A small network is trained on frozen features, and its answers are noted after every epoch; a choice of the epoch by the
test images is set beside the honest one, by the validation images.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skinlesions.core.classes import CLASSES
from skinlesions.core.parallel import in_order
from skinlesions.data import splits
from skinlesions.evaluation import weighted
from skinlesions.evaluation.bootstrap import Resampling
from skinlesions.evaluation.injection import Images
from skinlesions.evaluation.leakage import ALL, change


@dataclass(frozen=True)
class Network:
    """The small network whose training is a row of checkpoints to choose from.

    Attributes:
        hidden_units: of its one hidden layer.
        learning_rate: of Adam.
        batch_size: images per step.
        epochs: how many checkpoints there are.
    """

    hidden_units: int
    learning_rate: float
    batch_size: int
    epochs: int


def checkpoints(images: Images, fold: np.ndarray, network: Network, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What the network of every fold calls its validation and its test images after every epoch.

    Fold k is the test set, fold k + 1 the validation set, the rest for training; images are weighted so that classes
    count the same.

    Returns:
        Two int8 arrays [E, N], positions in CLASSES: the answers of the network that validates on each image, and of
        the one that is tested on it.
    """
    folds = int(fold.max()) + 1
    validated, tested = np.zeros((2, network.epochs, len(fold)), dtype=np.int8)

    def of_fold(number: int) -> None:
        """Train the network of one fold and note its answers."""
        training, validation, test = splits.roles(fold, number, folds)
        scaler = StandardScaler().fit(images.features[training])
        features, labels = scaler.transform(images.features[training]), images.labels[training]
        asked = scaler.transform(images.features[np.concatenate([validation, test])])
        counts = np.bincount(labels, minlength=len(CLASSES))
        model = MLPClassifier(
            (network.hidden_units,),
            learning_rate_init=network.learning_rate,
            batch_size=min(network.batch_size, len(training)),
            random_state=seed + number,
        )
        for epoch in range(network.epochs):
            weights = (len(labels) / len(CLASSES) / counts[labels]).astype(features.dtype)
            model.partial_fit(features, labels, classes=np.arange(len(CLASSES)), sample_weight=weights)
            answers = model.predict(asked)
            validated[epoch, validation] = answers[: len(validation)]
            tested[epoch, test] = answers[len(validation) :]

    with threadpool_limits(1):
        for _ in in_order(of_fold, range(folds)):
            pass
    return validated, tested


def epochs(images: Images, fold: np.ndarray, validated: np.ndarray, tested: np.ndarray) -> pd.DataFrame:
    """The balanced accuracies to choose a checkpoint by: fold, epoch (from 1), validation, test.

    Args:
        images: of the audit.
        fold: int [N].
        validated: int8 [E, N], as `checkpoints` returns it.
        tested: the same for the test images.
    """
    folds, once = int(fold.max()) + 1, np.ones((1, len(fold)), dtype=np.float32)
    parts = []
    for number in range(folds):
        _, validation, test = splits.roles(fold, number, folds)
        scores = {
            name: weighted.mean(weighted.recalls(images.labels[own], answers[:, own], once[:, own]))[0]
            for name, own, answers in (("validation", validation, validated), ("test", test, tested))
        }
        parts.append(pd.DataFrame({"fold": number, "epoch": np.arange(1, len(tested) + 1)} | scores))
    return pd.concat(parts, ignore_index=True)


def selection(
    images: Images, fold: np.ndarray, tested: np.ndarray, scores: pd.DataFrame, resampling: Resampling
) -> pd.DataFrame:
    """What choosing the checkpoint on the test images adds to their score.

    Args:
        images: of the audit.
        fold: int [N].
        tested: int8 [E, N], as `checkpoints` returns it.
        scores: what `epochs` makes of it.
        resampling: of the lesions.

    Returns:
        fold (then `all`), images, epoch and balanced accuracy on the test images when the validation images choose
        (validation_epoch, by_validation) and when the test images do (test_epoch, by_test), change; for `all`, which
        pools the test images of the folds, also low and high. The interval is that of the difference between the
        checkpoints so chosen, on other lesions; it does not choose them anew.
    """
    by_validation, by_test = np.zeros((2, len(fold)), dtype=np.int64)
    rows = []
    for number, own in scores.groupby("fold"):
        test, reached = np.flatnonzero(fold == number), own["test"].to_numpy()
        first, second = own["validation"].to_numpy().argmax(), reached.argmax()
        by_validation[test], by_test[test] = tested[first, test], tested[second, test]
        pair = reached[first], reached[second]
        rows.append((str(number), len(test), first + 1, second + 1, *pair, pair[1] - pair[0]))
    before, after = (np.eye(len(CLASSES))[answers][None] for answers in (by_validation, by_test))
    pooled = change(images.labels, images.groups, before, after, resampling, ["balanced_accuracy"]).iloc[0]
    columns = ["fold", "images", "validation_epoch", "test_epoch", "by_validation", "by_test", "change"]
    table = pd.DataFrame(rows, columns=columns).astype({"validation_epoch": object, "test_epoch": object})
    table[["low", "high"]] = np.nan
    table.loc[len(table)] = [ALL, len(fold), "", "", *pooled[["clean", "injected", "change", "low", "high"]]]
    return table
