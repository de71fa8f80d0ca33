"""Fine-tuning that is killed again and again ends where one ends that is left alone."""

import re
import shutil
import signal

import h5py
import numpy as np
import pandas as pd
import pytest

from skinlesions.data import predictions
from tests.integration.backends.conftest import BACKENDS, Project, on_each

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


def epochs(log: str) -> list[tuple[int, int]]:
    """The fold and the epoch of every line about fine-tuning."""
    found = re.findall(r"^tuned, fold (\d) of 3, fine-tuning epoch (\d+):", log, re.MULTILINE)
    return [(int(fold), int(epoch)) for fold, epoch in found]


@pytest.fixture(scope="module")
def interrupted(finished: dict[str, Project], tmp_path_factory) -> dict[str, tuple[Project, list[str]]]:
    """For each backend a project in which every run but the last was killed, and what the runs printed."""

    def run(backend: str) -> tuple[Project, list[str]]:
        project = finished[backend].copy(tmp_path_factory.mktemp("interrupted") / "project")
        for results in ("data/train", "models"):
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
        weights = [arrays(root / f"models/tuned/fold_{fold}.weights.h5") for root in (killed, whole)]
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
