"""Backbones take uint8 images and feed each network what its ImageNet weights were trained on."""

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from skinlesions.core import config
from skinlesions.core.errors import UserError
from skinlesions.models import backbones

MODULES = {
    "convnext_tiny": keras.applications.convnext,
    "densenet121": keras.applications.densenet,
    "efficientnet_b0": keras.applications.efficientnet,
    "efficientnet_b4": keras.applications.efficientnet,
    "efficientnet_v2_b0": keras.applications.efficientnet_v2,
    "inception_resnet_v2": keras.applications.inception_resnet_v2,
    "inception_resnet_v2_5_10_5": keras.applications.inception_resnet_v2,
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


@pytest.mark.parametrize("name", ["convnext_tiny", "efficientnet_v2_b0"])
def test_trunks_that_normalise_inside_do_so_once(name, pixels):
    """Where the preprocessing of the Keras module does nothing, the trunk begins with that of its ImageNet weights."""
    network = backbones.trunk(name, 32, None)
    (layer,) = [layer for layer in network.layers if isinstance(layer, keras.layers.Normalization)]
    found = keras.Model(network.inputs, layer.output).predict_on_batch(pixels.astype("float32"))
    expected = keras.ops.convert_to_numpy(backbones.Preprocess(**backbones.TORCH)(pixels))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "smallest"), config.ARCHITECTURES.items())
def test_params_know_the_architectures_and_their_smallest_images(name, smallest):
    with pytest.raises(ValueError, match=f"at least {smallest}x{smallest}"):
        backbones.trunk(name, smallest - 1, None)


def test_params_know_no_other_architectures():
    assert sorted(config.ARCHITECTURES) == sorted(backbones.ARCHITECTURES)


@pytest.mark.parametrize("name", backbones.ARCHITECTURES)
def test_the_last_convolution_is_the_last_layer_or_what_the_last_pooling_sees(name):
    """A second test of the smallest sizes: each architecture is built at its own."""
    network = backbones.trunk(name, config.ARCHITECTURES[name], None)
    last = network.get_layer(backbones.architecture(name).last_convolution)
    assert len(last.output.shape) == 4
    end = network.layers[-1]
    assert end is last or (isinstance(end, keras.layers.MaxPooling2D) and end.input is last.output)


def published_head(trunk: keras.Model, flatten: bool, hidden_units: int) -> keras.Model:
    """The head of the published notebooks: pooled or flattened maps, one hidden layer, seven classes."""
    maps = keras.layers.Flatten()(trunk.output) if flatten else keras.layers.GlobalAveragePooling2D()(trunk.output)
    hidden = keras.layers.Dense(hidden_units, activation="relu")(maps)
    return keras.Model(trunk.input, keras.layers.Dense(7)(keras.layers.Dropout(0.5)(hidden)))


@pytest.mark.parametrize(
    ("name", "trunk_parameters", "flatten", "hidden_units", "expected"),
    [
        # The counts of the trunks are those of the Keras documentation, less its 1,000-way top.
        ("vgg16", 14_714_688, True, 512, 27_563_847),
        ("densenet121", 8_062_504 - 1_025_000, True, 128, 13_461_063),
        ("resnet50", 25_636_712 - 2_049_000, False, 256, 24_114_055),
        ("efficientnet_b4", 19_466_823 - 1_793_000, False, 256, 18_134_630),
        ("inception_resnet_v2", 55_873_736 - 1_537_000, False, 128, 54_534_375),
    ],
)
def test_parameters_of_the_published_models(name, trunk_parameters, flatten, hidden_units, expected):
    """With the published heads at 224 pixels; the published code prints those of VGG16 and InceptionResNetV2."""
    trunk = backbones.trunk(name, 224, None)
    assert trunk.count_params() == trunk_parameters
    assert published_head(trunk, flatten, hidden_units).count_params() == expected


def test_the_faster_convnext_computes_what_that_of_keras_does(pixels):
    keras.utils.set_random_seed(0)
    ours = backbones.trunk("convnext_tiny", 32, None)
    official = keras.applications.ConvNeXtTiny(include_top=False, weights=None, input_shape=(32, 32, 3))
    random = np.random.default_rng(0)
    # Large layer scales: with the initial ones of 1e-6 the blocks would add nothing.
    values = [random.normal(0, 0.1, weight.shape).astype("float32") for weight in official.get_weights()]
    official.set_weights(values)
    ours.set_weights([value.reshape(weight.shape) for value, weight in zip(values, ours.weights, strict=True)])
    assert not any(isinstance(layer, keras.layers.Conv2D) and layer.groups > 1 for layer in ours.layers)
    images = pixels.astype("float32")
    np.testing.assert_allclose(ours.predict_on_batch(images), official.predict_on_batch(images), rtol=1e-3, atol=1e-4)


def test_keras_weights_of_convnext_reach_the_faster_one(tmp_path, monkeypatch, pixels):
    source = keras.applications.ConvNeXtTiny(include_top=False, weights=None, input_shape=(32, 32, 3))
    source.save(tmp_path / "convnext_tiny_notop.h5")
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(tmp_path / "convnext_tiny_notop.h5"))
    ours = backbones.trunk("convnext_tiny", 32, None, weights="imagenet")
    images = pixels.astype("float32")
    np.testing.assert_allclose(ours.predict_on_batch(images), source.predict_on_batch(images), rtol=1e-3, atol=1e-4)


def test_preprocessing_survives_saving(tmp_path, pixels):
    images = keras.Input((32, 32, 3), dtype="uint8")
    network = keras.Model(images, backbones.Preprocess(**backbones.CAFFE)(images))
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert loaded.input.dtype == "uint8"
    np.testing.assert_array_equal(loaded.predict_on_batch(pixels), network.predict_on_batch(pixels))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"unknown architecture 'resnet51'; known: convnext_tiny, .*, xception"):
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
    with pytest.raises(UserError, match=r"cut_at: vgg16 has no layer '.*'; .*block3_pool.*block5_pool"):
        backbones.trunk("vgg16", 32, cut_at)


def test_features_are_the_means_of_the_last_maps(pixels):
    trunk = backbones.trunk("vgg16", 32, "block3_pool")
    extractor = backbones.feature_extractor("vgg16_small", "vgg16", trunk, "average")
    assert extractor.name == "vgg16_small_features"
    assert extractor.input.dtype == "uint8" and extractor.output_shape == (None, 256)
    maps = trunk.predict_on_batch(keras.applications.vgg16.preprocess_input(pixels.astype("float32")))
    np.testing.assert_allclose(extractor.predict_on_batch(pixels), maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-4)


def test_flattened_features_are_all_values_of_the_last_maps(pixels):
    trunk = backbones.trunk("vgg16", 32, "block3_pool")
    extractor = backbones.feature_extractor("vgg16", "vgg16", trunk, "flatten")
    maps = trunk.predict_on_batch(keras.applications.vgg16.preprocess_input(pixels.astype("float32")))
    np.testing.assert_allclose(extractor.predict_on_batch(pixels), maps.reshape(4, -1), rtol=1e-4, atol=1e-4)


def test_an_unknown_pooling_is_refused():
    trunk = backbones.trunk("vgg16", 32, "block1_pool")
    with pytest.raises(UserError, match=r"backbones\.tiny\.pooling: unknown pooling 'max'; known: average, flatten"):
        backbones.feature_extractor("tiny", "vgg16", trunk, "max")


def test_features_of_an_image_do_not_depend_on_its_batch(pixels):
    """Batch normalisation uses the statistics in the weights, not those of the batch."""
    trunk = backbones.trunk("mobilenet_v2", 32, "block_1_expand_relu")
    extractor = backbones.feature_extractor("mobilenet_v2", "mobilenet_v2", trunk, "average")
    before = [weight.copy() for weight in extractor.get_weights()]
    together = extractor.predict_on_batch(pixels)
    alone = [extractor.predict_on_batch(pixels[number : number + 1])[0] for number in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)
    for old, new in zip(before, extractor.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
