"""The networks that are trained here: sizes, standardisation, saving."""

import keras
import numpy as np
import pytest

from skinlesions.models import heads


def test_the_baseline_has_the_published_number_of_parameters():
    network = heads.baseline_cnn(224, 128, 0.5, 0.0, "none")
    assert network.count_params() == 5_127_367
    assert network.output_shape == (None, 7) and network.input.dtype == "uint8"


@pytest.mark.parametrize("augmented", ["none", "dihedral", "original"])
def test_augmentation_does_not_change_what_the_baseline_predicts(augmented):
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype="uint8")
    plain = heads.baseline_cnn(48, 8, 0.5, 0.0, "none")
    network = heads.baseline_cnn(48, 8, 0.5, 0.0, augmented)
    for layer in plain.layers:
        if layer.weights:
            network.get_layer(layer.name).set_weights(layer.get_weights())
    expected = plain.predict_on_batch(images)
    assert expected.shape == (3, 7) and expected.dtype == "float32"
    np.testing.assert_allclose(network.predict_on_batch(images), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(network.predict_on_batch(images), expected, rtol=1e-5, atol=1e-6)  # and repeatably


def test_the_baseline_sees_pixels_from_0_to_1():
    network = heads.baseline_cnn(48, 8, 0.5, 0.0, "none")
    scaled = keras.Model(network.inputs, network.get_layer("preprocess").output)
    images = np.array([0, 51, 255], "uint8")[:, None, None, None] * np.ones((3, 48, 48, 3), "uint8")
    np.testing.assert_allclose(scaled.predict_on_batch(images)[:, 0, 0, 0], [0, 0.2, 1], rtol=1e-6)


@pytest.fixture
def features():
    random = np.random.default_rng(0)
    values = random.normal(5, 3, (200, 6)) * [1, 10, 100, 0.1, 1, 1]
    values[:, 5] = 2.0  # a feature that never varies
    return values.astype("float32")


def test_the_head_standardises_with_the_training_features(features):
    network = heads.head(features, 16, 0.5, 1e-4)
    assert network.input_shape == (None, 6) and network.output_shape == (None, 7)
    standardised = keras.Model(network.inputs, network.get_layer("standardise").output).predict_on_batch(features)
    np.testing.assert_allclose(standardised.mean(axis=0), np.zeros(6), atol=1e-4)
    np.testing.assert_allclose(standardised.std(axis=0), [1, 1, 1, 1, 1, 0], atol=1e-4)
    unseen = features[:1].copy()
    unseen[0, 5] += 1.0
    logits = network.predict_on_batch(unseen)
    assert np.isfinite(logits).all() and np.abs(logits).max() < 1e3


def test_float16_features_lose_nothing_in_the_mean():
    """A mean of float16 numbers, summed in float16, would stop growing at 2,048."""
    values = np.full((10_000, 2), 3.0, "float16")
    values[::2, 1] = 5.0
    network = heads.head(values, 4, 0.0, 0.0)
    standardised = keras.Model(network.inputs, network.get_layer("standardise").output)
    np.testing.assert_allclose(standardised.predict_on_batch(values[:2].astype("float32"))[:, 1], [1, -1], atol=1e-5)


def test_the_penalty_is_on_the_hidden_layer_alone(features):
    network = heads.head(features, 16, 0.5, 0.25)
    kernel = network.get_layer("hidden").get_weights()[0]
    penalty = keras.ops.convert_to_numpy(sum(network.losses))
    assert penalty == pytest.approx(0.25 * (kernel**2).sum(), rel=1e-5)


def test_saved_weights_bring_their_standardisation_with_them(features, tmp_path):
    network = heads.head(features, 16, 0.5, 1e-4)
    network.save_weights(tmp_path / "head.weights.h5")
    other = heads.head(np.zeros((2, 6), "float32"), 16, 0.5, 1e-4)
    other.load_weights(tmp_path / "head.weights.h5")
    np.testing.assert_allclose(other.predict_on_batch(features), network.predict_on_batch(features), rtol=1e-5)
