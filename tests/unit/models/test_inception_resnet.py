"""The network of 5, 10 and 5 blocks is the stock network without the second half of each of its stages."""

import re

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from skinlesions.models import inception_resnet

SHAPE = (75, 75, 3)  # the smallest


@pytest.fixture(scope="module")
def stock():
    """The stock network, with weights that differ everywhere, in batch normalisation as well."""
    keras.utils.set_random_seed(0)
    network = keras.applications.InceptionResNetV2(include_top=False, weights=None, input_shape=SHAPE)
    random = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, value.shape) for value in layer.get_weights()])
    return network


@pytest.fixture(scope="module")
def small(stock):
    return inception_resnet.truncated(stock)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(-1, 1, (2, *SHAPE)).astype("float32")


def output(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """What `network` computes, step by step: for one batch that takes less time than compiling it."""
    return keras.ops.convert_to_numpy(network(images, training=False))


def test_it_has_five_ten_and_five_blocks_and_1536_channels(small):
    names = [layer.name for layer in small.layers]
    for block, count in (("block35", 5), ("block17", 10), ("block8", 5)):
        found = sorted(
            int(re.search(r"_(\d+)_", name)[1]) for name in names if re.fullmatch(rf"{block}_\d+_conv", name)
        )
        assert found == list(range(1, count + 1))
    assert small.output_shape[-1] == 1536 and small.layers[-1].name == "conv_7b_ac"
    assert not any(isinstance(layer, keras.Model) for layer in small.layers)  # flat: every layer can be named


def convolution(size: int, channels_in: int, channels_out: int) -> int:
    """Parameters of a convolution and of its batch normalisation, which has no scale: offset, mean, variance."""
    return size * channels_in * channels_out + 3 * channels_out


def plain_convolution(channels_in: int, channels_out: int) -> int:
    """Parameters of the 1 x 1 convolution with bias that ends a block."""
    return (channels_in + 1) * channels_out


def test_the_parameters_are_those_of_the_stock_network_less_twenty_blocks(stock, small):
    """The blocks counted from the published drawing of each."""
    block_a = 3 * convolution(1, 320, 32) + convolution(9, 32, 32) + convolution(9, 32, 48) + convolution(9, 48, 64)
    block_a += plain_convolution(32 + 32 + 64, 320)
    block_b = (
        convolution(1, 1088, 192) + convolution(1, 1088, 128) + convolution(7, 128, 160) + convolution(7, 160, 192)
    )
    block_b += plain_convolution(192 + 192, 1088)
    block_c = 2 * convolution(1, 2080, 192) + convolution(3, 192, 224) + convolution(3, 224, 256)
    block_c += plain_convolution(192 + 256, 2080)
    assert stock.count_params() == 54_336_736
    assert small.count_params() == 54_336_736 - 5 * block_a - 10 * block_b - 5 * block_c == 32_263_696


def test_every_layer_has_the_weights_of_the_stock_layer_of_its_name(stock, small):
    by_fixed_name = {fixed: stock.get_layer(name) for name, fixed in inception_resnet.fixed_names(stock).items()}
    compared = 0
    for layer in small.layers:
        original = by_fixed_name[layer.name]
        assert layer is not original and type(layer) is type(original)
        for ours, theirs in zip(layer.get_weights(), original.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
            compared += ours.size
    assert compared == small.count_params()


def test_each_stage_computes_what_the_stock_layers_do(stock, small, images):
    """From the end of a stage here, the stock layers from the end of that stage there lead to the end of the next."""

    def end(network: keras.Model, name: str) -> np.ndarray:
        return output(keras.Model(network.inputs, network.get_layer(name).output), images)

    def stock_part(begin: keras.KerasTensor, name: str, maps: np.ndarray) -> np.ndarray:
        return output(keras.Model(begin, stock.get_layer(name).output), maps)

    first, second, third = (end(small, name) for name in ("block35_5_ac", "block17_10_ac", "block8_5_ac"))
    np.testing.assert_allclose(first, end(stock, "block35_5_ac"), rtol=1e-5)
    assert first.std() > 0 and second.std() > 0 and third.std() > 0
    expected = stock_part(stock.get_layer("block35_10_ac").output, "block17_10_ac", first)
    np.testing.assert_allclose(second, expected, rtol=1e-4, atol=1e-4)
    expected = stock_part(stock.get_layer("block17_20_ac").output, "block8_5_ac", second)
    np.testing.assert_allclose(third, expected, rtol=1e-4, atol=1e-4)
    expected = stock_part(stock.get_layer("conv_7b").input, "conv_7b_ac", third)
    np.testing.assert_allclose(output(small, images), expected, rtol=1e-4, atol=1e-4)


def test_names_and_stored_weights_do_not_depend_on_what_was_built_before(small, images, tmp_path):
    keras.backend.clear_session()  # as in a process of its own
    fresh = {
        layer.name
        for layer in keras.applications.InceptionResNetV2(include_top=False, weights=None, input_shape=SHAPE).layers
    }
    small.save_weights(tmp_path / "small.weights.h5")
    other = inception_resnet.inception_resnet(weights=None, input_shape=SHAPE)  # numbered on from the one above
    assert [layer.name for layer in other.layers] == [layer.name for layer in small.layers]
    assert {layer.name for layer in other.layers} < fresh
    other.load_weights(tmp_path / "small.weights.h5")
    np.testing.assert_array_equal(output(other, images), output(small, images))


def test_imagenet_weights_are_those_of_the_stock_file(stock, small, images, tmp_path, monkeypatch):
    stock.save(tmp_path / "inception_resnet_v2_notop.h5")  # a stand-in for Keras' file, in the same format
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(tmp_path / "inception_resnet_v2_notop.h5"))
    network = inception_resnet.inception_resnet(weights="imagenet", input_shape=SHAPE)
    np.testing.assert_array_equal(output(network, images), output(small, images))
