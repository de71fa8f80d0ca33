"""The first phase of training: a fresh head on frozen features, or the baseline CNN, on the images of one fold.

The loss falls under Adam; the validation fold decides the learning rate, the end and which epoch is kept.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from skinlesions.core import files
from skinlesions.core.classes import CLASSES
from skinlesions.core.config import Head
from skinlesions.core.errors import UserError
from skinlesions.data import balancing, images
from skinlesions.evaluation import metrics
from skinlesions.models import augmentation, heads

# Rows of features, or images, per step when a network only predicts.
PREDICTION_BATCH = 512
IMAGE_BATCH = 64

# A training loss above so many times that of a network that knows nothing has diverged.
DIVERGED = 100


@keras.saving.register_keras_serializable("skinlesions")
class BalancedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits + offset, with the focal factor (1 - p)^gamma; class weights come as sample weights.

    Sources: offset, Menon et al. 2021, eq. 10; focal factor, Lin et al. 2017, eq. 4. Both zero: plain cross-entropy.
    """

    def __init__(self, offset: np.ndarray, gamma: float, name: str = "balanced_cross_entropy") -> None:
        super().__init__(name=name)
        self.offset = np.asarray(offset, "float32")
        self.gamma = gamma

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """The loss of every image [n]; `y_true` one-hot [n, 7], `y_pred` logits [n, 7]."""
        log_probability = ops.sum(y_true * ops.log_softmax(y_pred + self.offset), axis=-1)
        if self.gamma == 0:
            return -log_probability
        # 1 - p may round to 0 or less when p is 1; a power of a negative number is NaN, and so is a root's slope at 0.
        return -log_probability * ops.maximum(1 - ops.exp(log_probability), keras.config.epsilon()) ** self.gamma

    def get_config(self) -> dict[str, object]:
        """The arguments that rebuild this loss."""
        return {"offset": self.offset.tolist(), "gamma": self.gamma, "name": self.name}


def loss_limit(network: keras.Model) -> float:
    """The training loss from which on `network`, still untrained, is said to have diverged."""
    return DIVERGED * (np.log(len(CLASSES)) + sum(float(part) for part in network.losses))


def epoch_row(
    name: str, network: keras.Model, labels: np.ndarray, logits: np.ndarray, loss: float | None, limit: float
) -> dict[str, Any]:
    """The scores of an epoch on the validation images: a row of the history, and a line on the terminal.

    Args:
        name: how the line begins.
        labels: int [n].
        logits: [n, 7]; the scores are NaN if one is not finite.
        loss: the mean over the epoch; None: no epoch yet.
        limit: the loss above which the training has diverged, see `loss_limit`.

    Returns:
        learning_rate, loss, val_loss, val_accuracy, val_balanced_accuracy, diverged.
    """
    scores = dict.fromkeys(("nll", "accuracy", "balanced_accuracy"), float("nan"))
    is_finite = bool(np.isfinite(logits).all())
    if is_finite:
        scores = metrics.summary(labels, metrics.softmax(logits))
    rate = float(ops.convert_to_numpy(network.optimizer.learning_rate))
    diverged = not is_finite or (loss is not None and not loss <= limit)  # NaN compares with nothing
    parts = [] if loss is None else [f"loss {loss:.4f}"]
    parts += [f"validation balanced accuracy {scores['balanced_accuracy']:.4f}", f"learning rate {rate:.2g}"]
    if diverged:
        parts.append("THE TRAINING HAS DIVERGED: lower its learning rate")
    print(f"{name}: {', '.join(parts)}", file=sys.stderr, flush=True)
    return {
        "learning_rate": rate,
        "loss": loss,
        "val_loss": float(scores["nll"]),
        "val_accuracy": float(scores["accuracy"]),
        "val_balanced_accuracy": float(scores["balanced_accuracy"]),
        "diverged": diverged,
    }


class ValidationScore(keras.callbacks.Callback):
    """After every epoch: the scores of the validation images, for the other callbacks, the history and the terminal.

    Training ends at logits that are not finite: nothing comes back from there.
    """

    def __init__(self, name: str, inputs: np.ndarray, labels: np.ndarray, limit: float) -> None:
        super().__init__()
        self.name, self.inputs, self.labels, self.limit = name, inputs, labels, limit
        self.rows: list[dict[str, Any]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Score, note and print."""
        logits = predict(self.model, self.inputs)
        label = f"{self.name}, epoch {epoch + 1}"
        row = epoch_row(label, self.model, self.labels, logits, float(logs["loss"]), self.limit)
        logs |= {name: row[name] for name in ("val_loss", "val_accuracy", "val_balanced_accuracy")}
        self.rows.append({"epoch": epoch + 1, **row})
        self.model.stop_training = self.model.stop_training or not np.isfinite(logits).all()


def make_deterministic(seed: int, deterministic: bool) -> None:
    """Seed everything random; if `deterministic`, also make the operations of TensorFlow repeat bit by bit.

    The latter switches XLA off and cannot be undone in this process.
    """
    keras.utils.set_random_seed(seed)
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()


def load_inputs(path: Path, image_size: int | None = None) -> np.ndarray:
    """What a model reads: frozen features, float32 [N, D], or images, uint8 [N, image_size, image_size, 3].

    Args:
        path: a .npy file of float16 features or of uint8 images.
        image_size: what images are scaled down to.
    """
    array = files.read_array(path, memory_map=True)
    if array.ndim == 2:
        return array.astype("float32")
    return images.scaled_down(path, image_size or array.shape[1])


def predict(network: keras.Model, inputs: np.ndarray, views: int = 1) -> np.ndarray:
    """The logits, float32 [n, 7], of `inputs` [n, ...].

    Args:
        views: 8 averages the logits of an image over the symmetries of the square; 1 takes it as it is.
    """
    batch = PREDICTION_BATCH if inputs.ndim == 2 else IMAGE_BATCH
    parts = []
    for start in range(0, len(inputs), batch):
        part = inputs[start : start + batch]
        if start and len(part) < batch:  # as many as before, lest the network be compiled again for a last few
            part = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), part.dtype)])
        seen = [np.asarray(network.predict_on_batch(view)) for view in augmentation.views(part, views)]
        parts.append(np.mean(seen, axis=0))
    return np.concatenate(parts)[: len(inputs)]


def builder(settings: Head, augmented: str = "none") -> Callable[[np.ndarray], keras.Model]:
    """What makes a fresh network, given the training inputs of a fold: a head for features, the baseline for images."""

    def build(inputs: np.ndarray) -> keras.Model:
        if inputs.ndim == 2:
            return heads.head(inputs, settings.hidden_units, settings.dropout, settings.l2)
        return heads.baseline_cnn(inputs.shape[1], settings.hidden_units, settings.dropout, settings.l2, augmented)

    return build


def fit(
    network: keras.Model,
    training: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    settings: Head,
    plan: balancing.Plan,
    *,
    seed: int,
    name: str,
) -> pd.DataFrame:
    """Train `network`, leave in it the weights of the epoch with the best validation balanced accuracy.

    Args:
        training: inputs [n, ...] and labels int [n].
        validation: the same of the validation fold.
        plan: what is done against class imbalance.
        name: what the progress lines call it.

    Returns:
        The history, one row per epoch: epoch, learning_rate, loss, val_loss, val_accuracy, val_balanced_accuracy,
        diverged, chosen.

    Raises:
        UserError: the network gave numbers that are not finite from the first epoch on.
    """
    inputs, labels = training
    class_counts = balancing.counts(labels)
    seen = balancing.sample(plan, labels, seed)
    score = ValidationScore(name, *validation, loss_limit(network))
    watched = {"monitor": "val_balanced_accuracy", "mode": "max"}
    network.compile(
        optimizer=keras.optimizers.Adam(settings.learning_rate),
        loss=BalancedCrossEntropy(balancing.logit_offset(plan, class_counts), plan.gamma),
    )
    network.fit(
        inputs[seen],
        np.eye(len(CLASSES), dtype="float32")[labels[seen]],
        sample_weight=balancing.class_weights(plan, class_counts)[labels[seen]].astype("float32"),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        verbose=0,
        callbacks=[
            score,
            keras.callbacks.ReduceLROnPlateau(**watched, factor=0.5, patience=settings.reduce_patience),
            keras.callbacks.EarlyStopping(**watched, patience=settings.patience, restore_best_weights=True),
        ],
    )
    history = pd.DataFrame(score.rows)
    if history["val_balanced_accuracy"].isna().all():
        raise UserError(
            f"{name}: the training diverged in its first epoch, at a learning rate of {settings.learning_rate:g}; "
            "lower learning_rate in params.yaml"
        )
    return history.assign(chosen=history.index == history["val_balanced_accuracy"].idxmax())
