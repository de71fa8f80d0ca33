"""Training on lesion-grouped folds: every image is scored by a network that never saw its lesion.

Model k is tested on fold k, validated on fold k + 1 (learning rate, early stopping, choice of the epoch) and trained
on the rest. A finished fold is kept under data/partial/ until the whole model is done: an interrupted run goes on
from there.
"""

import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import pandas as pd
from keras import ops

from skinlesions.core import files
from skinlesions.core.classes import CLASSES, LOGIT_COLUMNS
from skinlesions.data import balancing, images, splits
from skinlesions.evaluation import metrics
from skinlesions.models import augmentation, backbones, heads, inception_resnet

# Rows of features, or images, per step when a network only predicts.
PREDICTION_BATCH = 512
IMAGE_BATCH = 64

# The code that unfinished folds depend on.
CODE = tuple(
    Path(module.__file__)
    for module in (sys.modules[__name__], balancing, splits, heads, augmentation, backbones, inception_resnet)
)


@dataclass(frozen=True)
class Settings:
    """How one model is built and trained; the names are those of params.yaml."""

    hidden_units: int
    dropout: float
    l2: float
    learning_rate: float
    batch_size: int
    epochs: int
    patience: int
    reduce_patience: int


@dataclass(frozen=True)
class Data:
    """What a model is trained and tested on.

    Attributes:
        inputs: what the network reads, [N, ...].
        labels: int [N], positions in CLASSES.
        fold: int [N], 0 to K - 1.
    """

    inputs: np.ndarray
    labels: np.ndarray
    fold: np.ndarray


@dataclass(frozen=True)
class Result:
    """What the training of one model on all folds gives.

    Attributes:
        logits_test: float32 [N, 7], row i from the network whose test fold has image i.
        logits_validation: float32 [N, 7], row i from the network whose validation fold has image i.
        history: fold, phase (1: from fresh weights; 2: fine-tuning), epoch, learning_rate, loss, val_loss,
            val_accuracy, val_balanced_accuracy, chosen (the epoch of the phase whose weights are kept).
    """

    logits_test: np.ndarray
    logits_validation: np.ndarray
    history: pd.DataFrame


@dataclass(frozen=True)
class Fold:
    """A network trained on one fold, and its logits, float32 [n, 7], for the images it validates and is tested on."""

    network: keras.Model
    history: pd.DataFrame
    logits_validation: np.ndarray
    logits_test: np.ndarray


class SecondPhase(Protocol):
    """What goes on from a trained head: skinlesions.training.fine_tuning.FineTuner."""

    def check_time(self, folds: int) -> None:
        """Say how long `folds` folds take; refuse if that is too long."""

    def fold(self, number: int, first_phase: Callable[[], Fold], partial: Path | None, name: str) -> Fold:
        """Train fold `number`, after `first_phase`, which is not called if an interrupted run got further."""


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


class ValidationScore(keras.callbacks.Callback):
    """After every epoch: the scores of the validation images, for the other callbacks, the history and the terminal."""

    def __init__(self, name: str, inputs: np.ndarray, labels: np.ndarray) -> None:
        super().__init__()
        self.name, self.inputs, self.labels = name, inputs, labels
        self.rows: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Score, note and print."""
        scores = metrics.summary(self.labels, metrics.softmax(predict(self.model, self.inputs)))
        logs["val_loss"], logs["val_accuracy"] = scores["nll"], scores["accuracy"]
        logs["val_balanced_accuracy"] = scores["balanced_accuracy"]
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        names = ("loss", "val_loss", "val_accuracy", "val_balanced_accuracy")
        self.rows.append({"epoch": epoch + 1, "learning_rate": rate, **{name: float(logs[name]) for name in names}})
        print(
            f"{self.name}, epoch {epoch + 1}: loss {logs['loss']:.4f}, "
            f"validation balanced accuracy {scores['balanced_accuracy']:.4f}, learning rate {rate:.2g}",
            file=sys.stderr,
            flush=True,
        )


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
    parts = [
        np.mean([np.asarray(network.predict_on_batch(view)) for view in augmentation.views(part, views)], axis=0)
        for part in (inputs[start : start + batch] for start in range(0, len(inputs), batch))
    ]
    return np.concatenate(parts)


def builder(settings: Settings, augmented: str = "none") -> Callable[[np.ndarray], keras.Model]:
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
    settings: Settings,
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
        chosen.
    """
    inputs, labels = training
    class_counts = balancing.counts(labels)
    seen = balancing.sample(plan, labels, seed)
    score = ValidationScore(name, *validation)
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
    return history.assign(chosen=history.index == history["val_balanced_accuracy"].idxmax())


def cross_validate(
    build: Callable[[np.ndarray], keras.Model],
    data: Data,
    settings: Settings,
    plan: balancing.Plan,
    *,
    seed: int,
    name: str,
    views: int = 1,
    second_phase: SecondPhase | None = None,
    weights_folder: Path | None = None,
    partial: Path | None = None,
    key: dict[str, object] | None = None,
) -> Result:
    """Train one model per fold and score every image with the network that never saw its lesion.

    Args:
        build: makes a fresh network, given the training inputs of a fold.
        views: over how many symmetries of the square the logits of an image are averaged.
        second_phase: goes on from each fold's network; None: that network is the result.
        weights_folder: where each network's weights go, as fold_K.weights.h5, if there is a `partial`; None: they
            are not kept.
        partial: a folder for finished folds; None: an interrupted run begins anew.
        key: what the result depends on beside the arguments; finished folds with another key are discarded.
    """
    labels, folds = data.labels, int(data.fold.max()) + 1
    if partial is not None:
        key = {"key": key, "settings": asdict(settings), "plan": asdict(plan), "seed": seed, "views": views}
        files.keep_only_matching(partial, key)
    done = [partial is not None and (partial / f"fold_{number}" / "history.csv").exists() for number in range(folds)]
    if second_phase is not None and not all(done):
        second_phase.check_time(folds - sum(done))
    logits_test = np.zeros((len(labels), len(CLASSES)), "float32")
    logits_validation = np.zeros_like(logits_test)
    histories = []
    for number in range(folds):
        _, validation, test = splits.roles(data.fold, number, folds)
        folder = None if partial is None else partial / f"fold_{number}"
        label = f"{name}, fold {number + 1} of {folds}"
        if done[number]:
            print(f"{label}: finished by an earlier run", file=sys.stderr, flush=True)
        else:

            def first_phase(number: int = number, label: str = label) -> Fold:
                """The network on fresh weights."""
                seen = views if second_phase is None else 1  # a head on features, which have no symmetries
                return _train_fold(build, data, number, settings, plan, seed=seed + number, name=label, views=seen)

            if second_phase is None:
                keras.backend.clear_session()
                trained = first_phase()
            else:
                trained = second_phase.fold(number, first_phase, folder, label)
            if folder is not None:
                _keep(trained, folder)
        if folder is not None:
            logits = {part: files.read_array(folder / f"{part}.npy") for part in ("validation", "test")}
            history = pd.read_csv(folder / "history.csv")
        else:
            logits = {"validation": trained.logits_validation, "test": trained.logits_test}
            history = trained.history
        logits_validation[validation], logits_test[test] = logits["validation"], logits["test"]
        histories.append(history.assign(fold=number))
    if weights_folder is not None and partial is not None:
        weights_folder.mkdir(parents=True, exist_ok=True)
        for number in range(folds):
            source = partial / f"fold_{number}" / "network.weights.h5"
            shutil.copyfile(source, weights_folder / f"fold_{number}.weights.h5")
    history = pd.concat(histories, ignore_index=True)
    return Result(logits_test, logits_validation, history[["fold", *history.columns.drop("fold")]])


def _train_fold(
    build: Callable[[np.ndarray], keras.Model],
    data: Data,
    number: int,
    settings: Settings,
    plan: balancing.Plan,
    *,
    seed: int,
    name: str,
    views: int,
) -> Fold:
    """A fresh network, trained and scored on fold `number`."""
    inputs, labels = data.inputs, data.labels
    training, validation, test = splits.roles(data.fold, number, int(data.fold.max()) + 1)
    keras.utils.set_random_seed(seed)
    network = build(inputs[training])
    seen, validated = (inputs[training], labels[training]), (inputs[validation], labels[validation])
    history = fit(network, seen, validated, settings, plan, seed=seed, name=name)
    history.insert(0, "phase", 1)
    return Fold(network, history, predict(network, inputs[validation], views), predict(network, inputs[test], views))


def _keep(trained: Fold, folder: Path) -> None:
    """Write a finished fold; the history last: its presence says that the fold is done."""
    folder.mkdir(parents=True, exist_ok=True)
    trained.network.save_weights(folder / "network.weights.h5")
    files.write_array(folder / "validation.npy", trained.logits_validation)
    files.write_array(folder / "test.npy", trained.logits_test)
    files.write_csv(folder / "history.csv", trained.history)


def predictions_table(index: pd.DataFrame, folds: pd.DataFrame, result: Result) -> pd.DataFrame:
    """The predictions of a model in the form of predictions.csv.

    Args:
        index: image_id, lesion_id and dx of every image.
        folds: image_id, group and fold, in the order of `index`.

    Raises:
        ValueError: `folds` and `index` do not have the same images in the same order.
    """
    if list(index["image_id"]) != list(folds["image_id"]):
        raise ValueError("folds.csv and index.csv do not have the same images in the same order")
    count = folds["fold"].max() + 1
    parts = []
    for split, logits, fold in (
        ("test", result.logits_test, folds["fold"]),
        ("val", result.logits_validation, (folds["fold"] - 1) % count),
    ):
        part = index[["image_id", "lesion_id", "dx"]].assign(group=folds["group"], fold=fold, split=split)
        part[list(LOGIT_COLUMNS)] = logits
        parts.append(part)
    columns = ["image_id", "lesion_id", "group", "dx", "fold", "split", *LOGIT_COLUMNS]
    return pd.concat(parts, ignore_index=True)[columns].sort_values(["split", "image_id"], ignore_index=True)
