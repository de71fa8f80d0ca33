"""Backbones take uint8 images and feed each network what its ImageNet weights were trained on."""

import keras
import numpy as np
import pytest

from skinlesions.errors import UserError
from skinlesions.models import backbones

MODULES = {
    "densenet121": keras.applications.densenet,
    "efficientnet_b0": keras.applications.efficientnet,
    "efficientnet_b4": keras.applications.efficientnet,
    "inception_resnet_v2": keras.applications.inception_resnet_v2,
    "inception_v3": keras.applications.inception_v3,
    "mobilenet_v2": keras.applications.mobilenet_v2,
    "resnet50": keras.applications.resnet,
    "vgg16": keras.applications.vgg16,
    "xception": keras.applications.xception,
}


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")


@pytest.mark.parametrize("name", MODULES)
def test_preprocessing_is_that_of_the_keras_module(name, pixels):
    pixels[0, :2] = [[[0] * 3] * 32, [[255] * 3] * 32]
    expected = MODULES[name].preprocess_input(pixels.astype("float32"))
    preprocess = backbones.Preprocess(**backbones.architecture(name).preprocessing)
    ours = keras.ops.convert_to_numpy(preprocess(pixels))
    assert ours.dtype == "float32"
    # Values of up to 150 in the caffe convention: 1e-5 of the range.
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_every_architecture_was_compared():
    assert set(MODULES) == set(backbones.ARCHITECTURES)


def test_preprocessing_survives_saving(tmp_path, pixels):
    images = keras.Input((32, 32, 3), dtype="uint8")
    network = keras.Model(images, backbones.Preprocess(**backbones.CAFFE)(images))
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert loaded.input.dtype == "uint8"
    np.testing.assert_array_equal(loaded.predict_on_batch(pixels), network.predict_on_batch(pixels))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"unknown backbone 'resnet51'; known: densenet121, .*, xception"):
        backbones.trunk("resnet51", 32, None)


def test_a_trunk_ends_where_it_is_cut(pixels):
    values = pixels.astype("float32")
    whole = backbones.trunk("vgg16", 32, None)
    assert whole.output_shape == (None, 1, 1, 512)
    reference = keras.Model(whole.inputs, whole.get_layer("block3_pool").output).predict_on_batch(values)
    assert reference.shape == (4, 4, 4, 256) and reference.std() > 0
    for cut_at in ("block3_pool", "before:block4_conv1"):  # the same place, named from both sides
        cut = backbones.trunk("vgg16", 32, cut_at)
        assert len(cut.weights) == 14  # seven convolutions, each with kernel and bias
        cut.set_weights(whole.get_weights()[:14])
        np.testing.assert_array_equal(cut.predict_on_batch(values), reference)


def test_the_input_of_a_layer_without_the_layer_itself():
    whole = backbones.trunk("vgg16", 32, None)
    before = backbones.trunk("vgg16", 32, "before:block3_pool")
    assert before.output_shape == (None, 8, 8, 256)
    assert before.layers[-1].name == "block3_conv3" and len(before.layers) < len(whole.layers)


@pytest.mark.parametrize("cut_at", ["block9_pool", "before:block9_pool", "before:", "after:block3_pool"])
def test_an_unknown_layer_is_refused_with_the_names_of_the_last_ones(cut_at):
    with pytest.raises(UserError, match=r"backbones\.vgg16\.cut_at: no layer '.*'; .*block3_pool.*block5_pool"):
        backbones.trunk("vgg16", 32, cut_at)


def test_features_are_the_means_of_the_last_maps(pixels):
    trunk = backbones.trunk("vgg16", 32, "block3_pool")
    extractor = backbones.feature_extractor("vgg16", trunk)
    assert extractor.input.dtype == "uint8" and extractor.output_shape == (None, 256)
    maps = trunk.predict_on_batch(keras.applications.vgg16.preprocess_input(pixels.astype("float32")))
    np.testing.assert_allclose(extractor.predict_on_batch(pixels), maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-4)


def test_features_of_an_image_do_not_depend_on_its_batch(pixels):
    """Batch normalisation uses the statistics in the weights, not those of the batch."""
    trunk = backbones.trunk("mobilenet_v2", 32, "block_1_expand_relu")
    extractor = backbones.feature_extractor("mobilenet_v2", trunk)
    before = [weight.copy() for weight in extractor.get_weights()]
    together = extractor.predict_on_batch(pixels)
    alone = [extractor.predict_on_batch(pixels[number : number + 1])[0] for number in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)
    for old, new in zip(before, extractor.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
