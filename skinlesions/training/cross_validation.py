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

from skinlesions.core import files
from skinlesions.core.classes import CLASSES, LOGIT_COLUMNS
from skinlesions.core.config import Head
from skinlesions.data import balancing, splits
from skinlesions.training import first_phase
from skinlesions.training.first_phase import predict


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
            val_accuracy, val_balanced_accuracy, diverged (whether the loss left all bounds, or a validation logit was
            not finite), chosen (the epoch of the phase whose weights are kept).
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

    def fold(self, number: int, train_first: Callable[[], Fold], partial: Path | None, name: str) -> Fold:
        """Train fold `number`, after `train_first`, which is not called if an interrupted run got further."""


def cross_validate(
    build: Callable[[np.ndarray], keras.Model],
    data: Data,
    settings: Head,
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
        key: what the result depends on beside the arguments, see models.resumption.key; finished folds with another
            key are discarded.
    """
    labels, folds = data.labels, int(data.fold.max()) + 1
    if partial is not None:
        key = {"key": key, "settings": settings.model_dump(), "plan": asdict(plan), "seed": seed, "views": views}
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

            def train_first(number: int = number, label: str = label) -> Fold:
                """The network on fresh weights."""
                seen = views if second_phase is None else 1  # a head on features, which have no symmetries
                return _train_fold(build, data, number, settings, plan, seed=seed + number, name=label, views=seen)

            if second_phase is None:
                keras.backend.clear_session()
                trained = train_first()
            else:
                trained = second_phase.fold(number, train_first, folder, label)
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
    settings: Head,
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
    history = first_phase.fit(network, seen, validated, settings, plan, seed=seed, name=name)
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
