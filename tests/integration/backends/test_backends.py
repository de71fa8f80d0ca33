"""TensorFlow and JAX agree on features, logits and each other's trained models, and both go on where they were killed.

In one file, so that one core makes the trained models that all of these tests share.
"""

import re
import shutil
import signal

import h5py
import numpy as np
import pandas as pd
import pytest

from skinlesions.core import files
from skinlesions.data import predictions
from tests.integration.backends.conftest import BACKENDS, MODELS, Project, on_each

# Killed by SIGKILL at a moment after a line of the log, each run going on where the one before it was killed.
KILLS = (
    ("fold 1 of 3, fine-tuning epoch 0:", "batch"),  # in the first epoch
    ("fold 1 of 3, fine-tuning epoch 2:", "write"),  # while the state after that epoch is written
    ("fold 3 of 3, fine-tuning epoch 2:", "batch"),  # in the last fold, one step into the next epoch
)
# The epochs that each run went through, (fold, epoch): none that an earlier one had written down.
EPOCHS = (
    [(1, 0)],
    [(1, 0), (1, 1), (1, 2)],
    [(1, 2), (1, 3), *((2, epoch) for epoch in range(4)), (3, 0), (3, 1), (3, 2)],
    [(3, 3)],
)
# TensorFlow repeats itself bit by bit; JAX is not asked to.
TOLERANCE = {"tensorflow": 1e-5, "jax": 1e-4}


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_code_runs_without_the_other_backend(finished: dict[str, Project], backend: str):
    """The other was hidden, and nothing of it was loaded, when every module had been imported."""
    found = files.read_json(finished[backend].root / f"imported_{backend}.json")
    assert found == {"keras": backend, "loaded": [backend]}


def test_features_are_the_same(finished: dict[str, Project]):
    tensorflow, jax = (files.read_array(finished[name].root / "data/features/tiny.npy") for name in BACKENDS)
    assert tensorflow.dtype == jax.dtype == "float16"
    assert tensorflow.astype("float32").std(axis=0).mean() > 0.01  # images differ, so that agreement means something
    # One unit in the last place of a float16, where the two fall on either side of a boundary.
    np.testing.assert_allclose(jax.astype("float32"), tensorflow.astype("float32"), rtol=2**-10, atol=1e-4)


def logits(project: Project, backend: str, model: str) -> np.ndarray:
    """What the network of the first fold of a model, trained in `project`, gives under `backend`: float32 [N, 7]."""
    return files.read_array(project.root / f"logits_{backend}" / f"{model}.npy")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("trained_under", BACKENDS)
def test_a_model_trained_under_one_gives_the_same_logits_under_the_other(
    finished: dict[str, Project], trained_under: str, model: str
):
    tensorflow, jax = (logits(finished[trained_under], backend, model) for backend in BACKENDS)
    assert np.ptp(tensorflow, axis=0).min() > 0.01  # images differ
    np.testing.assert_allclose(jax, tensorflow, rtol=0, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_predictions_are_those_of_the_network_that_was_kept(finished: dict[str, Project], backend: str, model: str):
    root = finished[backend].root
    test = predictions.select(predictions.read(root / "data/train" / model / "predictions.csv"), "test")
    first = test["fold"].to_numpy() == 0
    # The frozen model was trained on features in float16; the table has six digits.
    tolerance = {"atol": 1e-2 if model == "frozen" else 1e-4, "rtol": 1e-5}
    np.testing.assert_allclose(
        predictions.logits(test)[first], logits(finished[backend], backend, model)[first], **tolerance
    )


@pytest.mark.parametrize("model", ["frozen", "tuned"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_training_learns(finished: dict[str, Project], backend: str, model: str):
    """Each class has a colour of its own."""
    path = finished[backend].root / "data/train" / model / "predictions.csv"
    test = predictions.select(predictions.read(path), "test")
    assert (predictions.logits(test).argmax(axis=1) == predictions.labels(test)).mean() > 0.4  # chance: 0.14


# --- interruptions ----------------------------------------------------------------------------------------------


def epochs(log: str) -> list[tuple[int, int]]:
    """The fold and the epoch of every line about fine-tuning."""
    found = re.findall(r"^tuned, fold (\d) of 3, fine-tuning epoch (\d+):", log, re.MULTILINE)
    return [(int(fold), int(epoch)) for fold, epoch in found]


@pytest.fixture(scope="module")
def interrupted(finished: dict[str, Project], tmp_path_factory) -> dict[str, tuple[Project, list[str]]]:
    """For each backend a project in which every run but the last was killed, and what the runs printed."""

    def run(backend: str) -> tuple[Project, list[str]]:
        project = finished[backend].copy(tmp_path_factory.mktemp("interrupted") / "project")
        for results in ("data/train", "data/models"):
            shutil.rmtree(project.root / results)
        logs = [project.run("train", "tuned", *kill, code=-signal.SIGKILL) for kill in KILLS]
        return project, [*logs, project.run("train", "tuned")]

    return on_each(run)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_run_goes_on_from_the_last_epoch_of_the_last_fold(interrupted, backend: str):
    _, logs = interrupted[backend]
    assert tuple(epochs(log) for log in logs) == EPOCHS


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_result_is_that_of_a_run_without_interruption(interrupted, finished: dict[str, Project], backend: str):
    killed, whole = interrupted[backend][0].root, finished[backend].root
    exactly = {"rtol": 0, "atol": TOLERANCE[backend]}
    for split in ("test", "val"):
        logits = [
            predictions.logits(predictions.select(predictions.read(root / "data/train/tuned/predictions.csv"), split))
            for root in (killed, whole)
        ]
        np.testing.assert_allclose(*logits, **exactly)
    histories = [pd.read_csv(root / "data/train/tuned/tables/history.csv") for root in (killed, whole)]
    pd.testing.assert_frame_equal(*histories, **exactly)
    chosen = histories[1].query("phase == 2 and chosen")["epoch"]
    assert len(chosen) == 3 and chosen.max() > 0  # what is kept is not only what the first phase gave
    for fold in range(3):
        weights = [arrays(root / f"data/models/tuned/fold_{fold}.weights.h5") for root in (killed, whole)]
        assert weights[0].keys() == weights[1].keys()
        for name in weights[0]:
            np.testing.assert_allclose(weights[0][name], weights[1][name], **exactly, err_msg=name)


def arrays(path) -> dict[str, np.ndarray]:
    """All arrays in a file of weights, by their place in it."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_unfinished_is_left_behind(interrupted, backend: str):
    root = interrupted[backend][0].root
    assert not (root / "data/partial/train/tuned").exists()
    assert not list(root.rglob("*.tmp"))
