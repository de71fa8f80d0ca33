"""Small trained models in folders of their own: every kind there is, with random weights."""

from pathlib import Path

import keras
import numpy as np
import pytest

from skinlesions.core import files, paths
from skinlesions.data import predictions
from skinlesions.models import heads, networks
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

FOLDS = 2
# Channels of the maps at which the trunk is cut: the first block of a network that is quick to build.
WIDTH = 64
SCRATCH = {"training": networks.FROM_SCRATCH, "backbone": None, "architecture": None, "cut_at": None, "pooling": None}
TRUNK = {"backbone": "tiny", "architecture": "vgg16", "cut_at": "block1_pool", "pooling": "average"}


def describe(name: str, /, **settings: object) -> networks.Description:
    """A description with small numbers where `settings` do not say otherwise."""
    small = {"initialisation": "random", "fit": "crop", "prepared_size": 48, "crop": 40, "image_size": 32}
    small |= {"hidden_units": 8, "dropout": 0.5, "l2": 0.1, "folds": FOLDS, "views": 1}
    return networks.Description(**(small | settings | {"name": name}))


MODELS = {
    "scratch": describe("scratch", **SCRATCH, image_size=48, crop=48),
    "frozen": describe("frozen", training=networks.FROZEN, **TRUNK),
    "tuned": describe("tuned", training=networks.FINE_TUNED, **TRUNK, views=8, fit="pad"),
}

# A head on features that were computed elsewhere.
GIVEN = describe(
    "given",
    training=networks.FROZEN,
    initialisation="embedding",
    **(TRUNK | {"architecture": None, "cut_at": None, "pooling": None}),
)


def use_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the project look for models, weights, predictions and what is known of the images under `folder`."""
    for name in ("MODELS", "WEIGHTS", "TRAIN", "RAW", "PUBLISHED_MODEL"):
        monkeypatch.setattr(paths, name, folder / name.lower())
    monkeypatch.setattr(paths, "RAW_MANIFEST", paths.RAW / "manifest.csv")


def trained_on(source: str) -> None:
    """Let the images be those of `source`: sample or ham10000."""
    files.write_json(paths.RAW / "source.json", {"source": source, "images": 1234, "lesions": 567, "note": ""})
    files.write_text(paths.RAW_MANIFEST, "image_id\n")


def write(description: networks.Description, seed: int) -> None:
    """A model with random weights, different in every fold, and made-up predictions of it."""
    name = description.name
    head = (description.hidden_units, description.dropout, description.l2)
    networks.write(description, networks.folder(name))
    keras.utils.set_random_seed(seed)
    if description.training == networks.FROM_SCRATCH:
        network = heads.baseline_cnn(description.image_size, *head, "none")
    elif description.training == networks.FINE_TUNED:
        network = networks.classifier(description, networks.trunk(description))
    else:
        network = heads.empty_head(WIDTH, *head)
        target = paths.backbone_weights(description.backbone)
        target.parent.mkdir(parents=True, exist_ok=True)
        if description.reads_images:
            networks.trunk(description).save_weights(target)
    generator = np.random.default_rng(seed)
    for fold in range(description.folds):
        # Each weight a little off, as training on another fold leaves it.
        network.set_weights([value + generator.uniform(-0.05, 0.05, value.shape) for value in network.get_weights()])
        network.save_weights(networks.folder(name) / f"fold_{fold}.weights.h5")
    table = synthetic_predictions(synthetic_index(), seed=seed, folds=description.folds)
    predictions.write(paths.TRAIN / name / "predictions.csv", table)
