"""Whole networks: built again from their description, and the same as their parts."""

from dataclasses import asdict, replace

import keras
import numpy as np
import pytest

from skinlesions.core import files, paths
from skinlesions.core.errors import UserError
from skinlesions.models import backbones, heads, networks
from skinlesions.training import first_phase
from tests.unit.training.test_fine_tuning import DESCRIPTION

RECORD = {
    "backbone": "small",
    "architecture": "mobilenet_v2",
    "initialisation": "random",
    "cut_at": "block_3_expand_relu",
    "pooling": "average",
    "crop": 40,
    "image_size": 32,
    "file": None,
}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Empty folders for the weights of backbones and models."""
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    (tmp_path / "weights").mkdir()
    return tmp_path


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype="uint8")


def test_a_description_survives_the_disk(folders):
    networks.write(DESCRIPTION, networks.folder("small"))
    assert networks.read("small") == DESCRIPTION


def test_an_unknown_model_is_refused_with_those_there_are(folders):
    with pytest.raises(UserError, match=r"no trained model 'other'.*make report"):
        networks.read("other")
    networks.write(DESCRIPTION, networks.folder("small"))
    with pytest.raises(UserError, match=r"no trained model 'other'.*there are small"):
        networks.read("other")


def test_a_description_takes_from_the_records_what_it_takes_to_feed_the_network():
    own = {
        key: asdict(DESCRIPTION)[key] for key in ("name", "training", "hidden_units", "dropout", "l2", "folds", "views")
    }
    made = networks.from_backbone(RECORD, {"fit": "pad", "size": 48}, **own)
    assert made == replace(DESCRIPTION, fit="pad", prepared_size=48, crop=40)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), dtype="uint8")
    assert networks.network_inputs(made, pixels).shape == (2, 32, 32, 3)


def test_the_baseline_reads_averages_of_pixels_as_in_training(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype="uint8")
    files.write_array(tmp_path / "images.npy", pixels)
    baseline = replace(DESCRIPTION, training=networks.FROM_SCRATCH, image_size=20)
    found = networks.network_inputs(baseline, pixels)
    np.testing.assert_array_equal(found, first_phase.load_inputs(tmp_path / "images.npy", 20))
    assert np.abs(found - pixels.reshape(3, 20, 2, 20, 2, 3).mean(axis=(2, 4))).max() <= 1


def test_a_frozen_model_is_its_trunk_and_its_head(folders, images):
    frozen = replace(DESCRIPTION, training=networks.FROZEN)
    keras.utils.set_random_seed(1)
    trunk = networks.trunk(frozen)
    trunk.save_weights(paths.backbone_weights("small"))
    extractor = backbones.feature_extractor("small", "mobilenet_v2", trunk, "average")
    features = extractor.predict_on_batch(images)
    head = heads.head(features, frozen.hidden_units, frozen.dropout, frozen.l2)
    networks.folder("small").mkdir(parents=True)
    head.save_weights(networks.folder("small") / "fold_2.weights.h5")
    network = networks.load(frozen, 2)
    np.testing.assert_allclose(network.predict_on_batch(images), head.predict_on_batch(features), rtol=1e-3, atol=1e-4)
    names = [layer.name for layer in network.layers]
    assert names == ["images", "preprocess", "trunk", "pool", "standardise", "hidden", "dropout", "logits"]


def test_a_fine_tuned_model_has_weights_of_its_own(folders, images):
    network = networks.classifier(DESCRIPTION, networks.trunk(DESCRIPTION))
    networks.folder("small").mkdir(parents=True)
    network.save_weights(networks.folder("small") / "fold_0.weights.h5")
    again = networks.load(DESCRIPTION, 0)
    np.testing.assert_allclose(again.predict_on_batch(images), network.predict_on_batch(images), rtol=1e-4, atol=1e-5)


def test_absent_and_unfit_weights_are_named(folders):
    with pytest.raises(UserError, match=r"fold_0\.weights\.h5 does not exist"):
        networks.load(DESCRIPTION, 0)
    networks.folder("small").mkdir(parents=True)
    heads.empty_head(3, 2, 0.0, 0.0).save_weights(networks.folder("small") / "fold_0.weights.h5")
    with pytest.raises(UserError, match=r"fold_0\.weights\.h5 does not fit the network classifier"):
        networks.load(DESCRIPTION, 0)


def test_the_last_maps_are_those_that_the_pooling_reads(images):
    network = networks.classifier(DESCRIPTION, networks.trunk(DESCRIPTION))
    maps, logits = networks.last_maps(network).predict_on_batch(images)
    assert maps.shape == (5, 8, 8, 144)
    np.testing.assert_allclose(logits, network.predict_on_batch(images), rtol=1e-4, atol=1e-5)
    baseline = heads.baseline_cnn(64, 8, 0.0, 0.0, "none")
    inputs = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype="uint8")
    maps, _ = networks.last_maps(baseline).predict_on_batch(inputs)
    assert maps.shape == (2, 4, 4, 256)


def test_a_network_under_mixed_precision_keeps_its_head_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = networks.classifier(DESCRIPTION, networks.trunk(DESCRIPTION))
    finally:
        keras.config.set_dtype_policy("float32")
    assert network.get_layer("trunk").layers[-1].compute_dtype == "bfloat16"
    assert {network.get_layer(name).compute_dtype for name in ("standardise", "hidden", "logits")} == {"float32"}
    assert network.output.dtype == "float32"
