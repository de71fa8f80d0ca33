"""A model of params.yaml put together from what the stages before left."""

import os

import numpy as np
import pandas as pd
import pytest

from skinlesions.core import config, files, paths
from skinlesions.core.errors import UserError
from skinlesions.data import balancing, embeddings, images
from skinlesions.models import networks
from skinlesions.training import assembly, cross_validation
from tests.helpers import project
from tests.unit.models.test_networks import RECORD
from tests.unit.training.test_fine_tuning import SECOND

PLAN = balancing.Plan("balanced_weights", 0.5, 0.99, 2.0, 1.0)
MODEL = config.Model(
    inputs="features/small.npy",
    head=config.Head(
        hidden_units=8, dropout=0.5, l2=0.1, learning_rate=0.01, batch_size=16, epochs=1, patience=1, reduce_patience=1
    ),
)
TUNED = MODEL.model_copy(update={"fine_tune": SECOND.model_copy(update={"views": 8})})
BASELINE = MODEL.model_copy(update={"inputs": "prepared/images.npy", "image_size": 24})


@pytest.fixture(autouse=True)
def records(tmp_path, monkeypatch):
    """The records of the stages before, in a folder of their own."""
    monkeypatch.setattr(paths, "PREPARED_SETTINGS", tmp_path / "settings.json")
    monkeypatch.setattr(paths, "PREPARED_IMAGES", tmp_path / "images.npy")
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    files.write_json(paths.PREPARED_SETTINGS, {"fit": "pad", "size": 48})
    files.write_json(paths.backbone_record("small"), RECORD)


def describe(settings: config.Model = MODEL) -> networks.Description:
    return assembly.describe("model", settings, folds=3)


def test_a_frozen_model_takes_one_view_and_a_fine_tuned_one_as_many_as_it_is_told():
    frozen, tuned = describe(), describe(TUNED)
    assert (frozen.training, frozen.views) == (networks.FROZEN, 1)
    assert (tuned.training, tuned.views) == (networks.FINE_TUNED, 8)
    assert (tuned.fit, tuned.prepared_size, tuned.crop, tuned.image_size) == ("pad", 48, 40, 32)
    assert (tuned.architecture, tuned.cut_at, tuned.initialisation) == ("mobilenet_v2", "block_3_expand_relu", "random")


def test_a_model_on_an_embedding_reads_no_images(monkeypatch):
    monkeypatch.setattr(paths, "ROOT", paths.WEIGHTS)
    np.save(paths.WEIGHTS / "own.npy", np.eye(3))
    (paths.WEIGHTS / "own.csv").write_text("image_id\na\nb\nc\n")
    embeddings.save("small", config.Embedding(features="own.npy", ids="own.csv"))
    given = describe()
    assert (given.training, given.initialisation, given.views) == (networks.FROZEN, "embedding", 1)
    assert not given.reads_images and describe(BASELINE).reads_images
    with pytest.raises(UserError, match="reads the embedding small"):
        networks.load(given, 0)


def test_the_baseline_has_no_backbone():
    baseline = describe(BASELINE)
    assert (baseline.training, baseline.backbone) == (networks.FROM_SCRATCH, None)
    assert (baseline.crop, baseline.image_size) == (48, 24)


def test_a_model_that_is_fine_tuned_for_no_epochs_stays_frozen():
    still = TUNED.model_copy(update={"fine_tune": SECOND.model_copy(update={"epochs": 0})})
    assert describe(still) == describe()


def test_images_are_read_as_the_network_takes_them(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 48, 48, 3), dtype="uint8")
    files.write_array(paths.PREPARED_IMAGES, pixels)
    monkeypatch.setattr(assembly, "CHUNK", 3)
    np.testing.assert_array_equal(assembly.read_images(describe()), images.network_inputs(pixels, 40, 32))


def test_the_last_phase_is_the_one_whose_weights_are_kept():
    history = pd.DataFrame({"phase": [1, 1, 2], "epoch": [1, 2, 0]})
    assert assembly.last_phase(history)["epoch"].tolist() == [0]
    assert assembly.last_phase(history[:2])["epoch"].tolist() == [1, 2]


def test_folds_of_another_version_of_the_code_are_trained_again(tmp_path, monkeypatch, capsys):
    """An interrupted training that goes on under other code must not mix the two."""
    root = tmp_path / "project"
    root.mkdir()
    project.copy_code(root)
    monkeypatch.setattr(paths, "ROOT", root)
    for name in ("DATA", "PARTIAL", "MODELS", "FOLDS"):
        monkeypatch.setattr(paths, name, root / name.lower())
    number = np.arange(84)
    features = np.random.default_rng(0).normal(size=(84, 4)).astype("float32")
    files.write_array(paths.DATA / MODEL.inputs, features)
    files.write_csv(paths.FOLDS, pd.DataFrame({"fold": number // 7 % 3}))
    data = cross_validation.Data(features, number % 7, number // 7 % 3)

    def folds_used_again() -> int:
        assembly.train(describe(), data, PLAN, MODEL, seed=1)
        return capsys.readouterr().err.count("finished by an earlier run")

    assert [folds_used_again(), folds_used_again()] == [0, 3]
    source = root / "skinlesions" / "evaluation" / "metrics.py"
    os.utime(source)
    assert folds_used_again() == 3
    source.write_text(source.read_text() + "# another version\n")
    assert [folds_used_again(), folds_used_again()] == [0, 3]
