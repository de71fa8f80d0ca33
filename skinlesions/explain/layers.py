"""Inside a network: its convolutions, the filters of the first, and the feature maps that layers make of an image."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops


def _body(network: keras.Model) -> keras.Model:
    """The part with the convolutions: the nested trunk, or the network itself."""
    return next((layer for layer in network.layers if isinstance(layer, keras.Model)), network)


def convolutions(network: keras.Model) -> list[keras.Layer]:
    """The convolutions of `network`, from the image on."""
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    return [layer for layer in _body(network).layers if isinstance(layer, kinds)]


def first_filters(network: keras.Model) -> tuple[str, np.ndarray]:
    """The name and the kernels, float32 [height, width, 3, filters], of the convolution that reads the image."""
    layer = convolutions(network)[0]
    return layer.name, np.asarray(layer.get_weights()[0])


def feature_maps(network: keras.Model, inputs: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """What layers make of one image, float32 [h, w, C] by the name of the layer.

    Args:
        inputs: uint8 [1, S, S, 3], what the network reads.
        names: layers of the trunk, or of the network if it has none.
    """
    body = _body(network)
    reader = keras.Model(body.inputs[0], {name: body.get_layer(name).output for name in names})
    images = inputs if body is network else network.get_layer("preprocess")(inputs)
    return {name: ops.convert_to_numpy(maps)[0] for name, maps in reader(images, training=False).items()}


def liveliest(maps: np.ndarray, count: int) -> np.ndarray:
    """The positions of the `count` channels of maps [h, w, C] that vary the most over the image, the first the most."""
    return np.argsort(-maps.var(axis=(0, 1)), kind="stable")[:count]
