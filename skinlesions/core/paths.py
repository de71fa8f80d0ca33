"""Where things are. Every path of the project is built from these."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PARAMS = ROOT / "params.yaml"
PIPELINE = ROOT / "dvc.yaml"
DVC_LOCK = ROOT / "dvc.lock"

DATA = ROOT / "data"
RAW = DATA / "raw"
RAW_IMAGES = RAW / "images"
RAW_METADATA = RAW / "metadata.csv"
RAW_MANIFEST = RAW / "manifest.csv"
EXTERNAL_RAW = DATA / "external_raw"
PREPARED = DATA / "prepared"
PREPARED_IMAGES = PREPARED / "images.npy"
PREPARED_INDEX = PREPARED / "index.csv"
PREPARED_IDS = PREPARED / "image_ids.csv"
PREPARED_SETTINGS = PREPARED / "settings.json"
EXPLORE = DATA / "explore"
WEIGHTS = DATA / "weights"
FEATURES = DATA / "features"
FOLDS = DATA / "split" / "folds.csv"
DUPLICATES = DATA / "split" / "duplicates.csv"
BALANCE = DATA / "balance"
BALANCE_PLAN = BALANCE / "plan.json"
TRAIN = DATA / "train"
MODELS = DATA / "models"
COMPARE = DATA / "compare"
EXPLAIN = DATA / "explain"
LEAKAGE = DATA / "leakage"
EXTERNAL = DATA / "external"

# What an interrupted stage has finished so far. DVC removes a stage's outputs before it runs the stage again,
# so work in progress is kept beside them, under a key that changes with every input.
PARTIAL = DATA / "partial"

PUBLISHED_MODEL = ROOT / "models" / "published"
NOTEBOOKS = ROOT / "notebooks"
LOGS = ROOT / "logs"
REPORTS = ROOT / "reports"
REPORTS_PREDICTIONS = REPORTS / "predictions"


def backbone_weights(name: str) -> Path:
    """Where the stage `weights` puts the weights of the backbone `name`."""
    return WEIGHTS / f"{name}.weights.h5"


def backbone_record(name: str) -> Path:
    """Where the stage `weights` writes down what the backbone `name` is and where its weights come from."""
    return WEIGHTS / f"{name}.json"


def relative(path: Path) -> str:
    """`path` as written in messages and tables: relative to the repository, with forward slashes.

    A path outside the repository is given as it is, so that a message always names a file one can open.
    """
    path = Path(os.path.realpath(path))  # unlike Path.resolve, no error of its own where links go round in circles
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.as_posix()
