"""A tiny project for each backend of Keras: run by it alone, as if the other were not installed.

The backend is fixed when Keras is imported, so everything that needs Keras runs in processes of its own (worker.py);
these tests themselves only read files.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skinlesions.core import config, files, paths
from skinlesions.core.classes import CLASSES, INDEX_COLUMNS
from skinlesions.data import balancing
from tests.helpers.project import copy_pipeline, tiny, write_params

HERE = Path(__file__).parent
BACKENDS = ("tensorflow", "jax")
FOLDS = 3
IMAGES_PER_CLASS = 5  # and fold

# The start of MobileNetV2, at 32 pixels: two dozen layers, all kinds that the whole has.
BACKBONE = {
    "architecture": "mobilenet_v2",
    "weights": "tiny.weights.h5",
    "sha256": None,
    "origin": "made for this test",
    "cut_at": "block_2_add",
    "crop": 40,
    "image_size": 32,
    "pooling": "average",
}
HEAD = {"hidden_units": 16, "dropout": 0.25, "l2": 0.01, "learning_rate": 0.01, "batch_size": 16, "epochs": 12}
MODELS = {
    "frozen": {"inputs": "features/tiny.npy"},
    "scratch": {
        "inputs": "prepared/images.npy",
        "image_size": 46,
        "augmentation": "dihedral",
        "head": {"learning_rate": 0.001, "epochs": 1},
    },
    "tuned": {  # much is left to fine-tuning
        "inputs": "features/tiny.npy",
        "head": {"epochs": 1},
        "fine_tune": {"from_layer": "all", "learning_rate": 0.005},
    },
}
# All that has a state: statistics of batch normalisation, random augmentation and dropout, momenta, a schedule.
FINE_TUNE = {"epochs": 3, "batch_size": 16, "warmup_epochs": 1, "batch_norm": "trained", "augmentation": "standard"}


@dataclass(frozen=True)
class Project:
    """A copy of the code with data of its own, and the backend that works on it."""

    root: Path
    backend: str

    def command(self, *task: str) -> list[str]:
        """What runs a task of worker.py here."""
        (hidden,) = set(BACKENDS) - {self.backend}
        return [sys.executable, str(HERE / "alone.py"), hidden, str(HERE / "worker.py"), *task]

    def run(self, *task: str, code: int = 0) -> str:
        """What the task prints on stderr; it must end with the exit code `code`."""
        finished = subprocess.run(
            self.command(*task), cwd=self.root, env=self.environment, text=True, stderr=subprocess.PIPE, timeout=1800
        )
        assert finished.returncode == code, f"{self.backend}, {' '.join(task)}:\n{finished.stderr}"
        return finished.stderr

    @property
    def environment(self) -> dict[str, str]:
        """That of the tests, with the backend, and the code of this project instead of the one under test."""
        own = {"KERAS_BACKEND": self.backend, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        return os.environ | own | {"SKINLESIONS_WEIGHTS_DIR": str(self.root), "TF_CPP_MIN_LOG_LEVEL": "3"}

    def with_backend(self, backend: str) -> "Project":
        """The same files under another backend."""
        return Project(self.root, backend)

    def copy(self, root: Path) -> "Project":
        """The same backend on a copy of the files."""
        return Project(shutil.copytree(self.root, root), self.backend)


def write_parameters(root: Path) -> None:
    """The smallest configuration, with the backbone and the models above instead of its own."""
    values = tiny()
    values["features"]["batch_size"] = 16
    values["backbones"]["tiny"] = BACKBONE
    values["head"] |= HEAD
    values["models"] |= MODELS
    values["fine_tune"] |= FINE_TUNE
    config.validate(values)
    write_params(root, values)


def write_data(root: Path) -> None:
    """Prepared images of one colour per class under noise, their folds, and a plan against the imbalance."""
    fold, label, _ = (part.ravel() for part in np.mgrid[:FOLDS, : len(CLASSES), :IMAGES_PER_CLASS])
    random = np.random.default_rng(0)
    colors = np.array([[60 + 135 * (number >> bit & 1) for bit in range(3)] for number in range(len(CLASSES))])
    noise = random.integers(-50, 51, (len(label), 12, 12, 3)).repeat(4, axis=1).repeat(4, axis=2)
    files.write_array(root / "data/prepared/images.npy", (colors[label][:, None, None] + noise).astype("uint8"))
    ids = [f"ISIC_{number:07d}" for number in range(len(label))]
    columns = {"image_id": ids, "lesion_id": [f"HAM_{name[5:]}" for name in ids], "dx": np.array(CLASSES)[label]}
    index = pd.DataFrame(columns).assign(dx_type="histo", age=50.0, sex="female", localization="back")
    files.write_csv(root / "data/prepared/index.csv", index[list(INDEX_COLUMNS)])
    files.write_json(root / "data/prepared/settings.json", {"size": 48, "fit": "crop"})
    folds = pd.DataFrame({"image_id": ids, "group": index["lesion_id"], "fold": fold})
    files.write_csv(root / "data/split/folds.csv", folds)
    balancing.write(root / "data/balance/plan.json", balancing.Plan("balanced_weights", 0.5, 0.99, 2.0, 1.0))


def on_each(work: Callable[[str], Any]) -> dict[str, Any]:
    """What `work` gives for each backend; both at the same time, each uses little more than one core."""
    with ThreadPoolExecutor(len(BACKENDS)) as pool:
        return dict(zip(BACKENDS, pool.map(work, BACKENDS), strict=True))


@pytest.fixture(scope="package")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project before anything was computed."""
    root = tmp_path_factory.mktemp("fresh") / "project"
    for name in ("skinlesions", "notebooks"):
        shutil.copytree(paths.ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    copy_pipeline(root)
    write_parameters(root)
    write_data(root)
    project = Project(root, "tensorflow")
    project.run("make-weights")
    return project


@pytest.fixture(scope="package")
def finished(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """The projects of both backends, each with its trained models and their logits under both. Not to be changed."""

    def run(backend: str) -> Project:
        project = fresh.with_backend(backend).copy(tmp_path_factory.mktemp(backend) / "project")
        project.run("everything", *MODELS)
        (other,) = set(BACKENDS) - {backend}
        project.with_backend(other).run("score", *MODELS)
        return project

    return on_each(run)
