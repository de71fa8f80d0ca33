"""Filters and feature maps of small networks."""

import numpy as np

from skinlesions.explain import layers
from skinlesions.models import heads
from tests.helpers.explained import noise, small_network


def test_feature_maps_are_those_of_the_layers():
    network, inputs = small_network(), noise(1, 12)
    assert [layer.name for layer in layers.convolutions(network)] == ["convolution"]
    name, kernels = layers.first_filters(network)
    assert (name, kernels.shape) == ("convolution", (1, 1, 3, 7))
    maps = layers.feature_maps(network, inputs, ["convolution"])["convolution"]
    bias = network.get_layer("trunk").get_weights()[1]
    np.testing.assert_allclose(maps, np.maximum(inputs[0] / 255 @ kernels[0, 0] + bias, 0), atol=1e-6)


def test_feature_maps_of_a_network_without_a_trunk():
    network, inputs = heads.baseline_cnn(48, 8, 0.5, 0.0, "none"), noise(1, 48)
    names = [layer.name for layer in layers.convolutions(network)]
    assert names == [f"convolution_{number}" for number in (1, 2, 3, 4)]
    maps = layers.feature_maps(network, inputs, names)
    assert list(maps) == names
    assert {name: values.shape for name, values in maps.items()} == {
        name: tuple(network.get_layer(name).output.shape[1:]) for name in names
    }
    assert layers.first_filters(network)[1].shape == (3, 3, 3, 64)


def test_the_liveliest_maps_vary_most():
    maps = np.random.default_rng(0).normal(size=(6, 6, 5)) * [1, 5, 0, 3, 2] + [90, 0, 50, 0, 0]
    assert layers.liveliest(maps, 3).tolist() == [1, 3, 4]
    assert layers.liveliest(maps, 9).tolist() == [1, 3, 4, 0, 2]
