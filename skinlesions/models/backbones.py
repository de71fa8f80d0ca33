"""Backbones by name: uint8 images in, feature maps out, each with the preprocessing that its weights expect.

The preprocessing is part of the network, so that no caller can forget it or apply another network's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from skinlesions.errors import UserError


@keras.saving.register_keras_serializable("skinlesions")
class Preprocess(keras.layers.Layer):
    """uint8 RGB images [N, H, W, 3] as the float images that a backbone was trained on.

    Computes `image * scale + offset` per channel, after turning RGB into BGR if `reverse_channels`.
    """

    def __init__(
        self,
        scale: tuple[float, float, float] = (1.0, 1.0, 1.0),
        offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
        reverse_channels: bool = False,
        **kwargs: object,
    ) -> None:
        super().__init__(**{"trainable": False, **kwargs})
        self.scale, self.offset, self.reverse_channels = tuple(scale), tuple(offset), reverse_channels

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """The preprocessed images, in the layer's compute type, [N, H, W, 3]."""
        images = ops.cast(images, self.compute_dtype)
        if self.reverse_channels:
            images = ops.flip(images, axis=-1)
        if self.scale == (1.0, 1.0, 1.0) and self.offset == (0.0, 0.0, 0.0):
            return images
        return images * np.array(self.scale, "float32") + np.array(self.offset, "float32")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Pixels change, shapes do not."""
        return input_shape

    def get_config(self) -> dict[str, object]:
        """The arguments that rebuild this layer."""
        own = {"scale": self.scale, "offset": self.offset, "reverse_channels": self.reverse_channels}
        return {**super().get_config(), **own}


# The four conventions of keras.applications, as arguments of Preprocess.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
UNCHANGED = {}
MINUS_ONE_TO_ONE = {"scale": (1 / 127.5,) * 3, "offset": (-1.0,) * 3}
CAFFE = {"offset": (-103.939, -116.779, -123.68), "reverse_channels": True}
TORCH = {
    "scale": tuple(1 / (255 * deviation) for deviation in _IMAGENET_DEVIATION),
    "offset": tuple(-mean / deviation for mean, deviation in zip(_IMAGENET_MEAN, _IMAGENET_DEVIATION, strict=True)),
}


@dataclass(frozen=True)
class Architecture:
    """A network of keras.applications and the preprocessing convention of its ImageNet weights."""

    constructor: Callable[..., keras.Model]
    preprocessing: dict[str, object]


ARCHITECTURES = {
    "densenet121": Architecture(keras.applications.DenseNet121, TORCH),
    "efficientnet_b0": Architecture(keras.applications.EfficientNetB0, UNCHANGED),
    "efficientnet_b4": Architecture(keras.applications.EfficientNetB4, UNCHANGED),
    "inception_resnet_v2": Architecture(keras.applications.InceptionResNetV2, MINUS_ONE_TO_ONE),
    "inception_v3": Architecture(keras.applications.InceptionV3, MINUS_ONE_TO_ONE),
    "mobilenet_v2": Architecture(keras.applications.MobileNetV2, MINUS_ONE_TO_ONE),
    "resnet50": Architecture(keras.applications.ResNet50, CAFFE),
    "vgg16": Architecture(keras.applications.VGG16, CAFFE),
    "xception": Architecture(keras.applications.Xception, MINUS_ONE_TO_ONE),
}

# In front of `cut_at`: the input of the layer, not its output (some inputs come from layers without a fixed name).
BEFORE = "before:"


def architecture(name: str) -> Architecture:
    """The architecture called `name`.

    Raises:
        UserError: there is none of that name; the message lists the known ones.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise UserError(f"unknown backbone {name!r}; known: {', '.join(sorted(ARCHITECTURES))}") from None


def trunk(name: str, image_size: int, cut_at: str | None, weights: str | None = None) -> keras.Model:
    """The convolutional part of a backbone: preprocessed images [N, size, size, 3] in, feature maps out.

    Args:
        cut_at: the layer whose output is taken, or `before:LAYER` for the input of that layer; None: the whole trunk.
        weights: `imagenet` for Keras' own download; None for random weights.

    Raises:
        UserError: the backbone or the layer is unknown.
    """
    input_shape = (image_size, image_size, 3)
    network = architecture(name).constructor(include_top=False, weights=weights, input_shape=input_shape)
    if cut_at is None:
        return network
    layer_name = cut_at.removeprefix(BEFORE)
    if layer_name not in {layer.name for layer in network.layers}:
        names = ", ".join(layer.name for layer in network.layers[-40:])
        raise UserError(f"backbones.{name}.cut_at: no layer {layer_name!r}; the last 40 layers are {names}")
    layer = network.get_layer(layer_name)
    output = layer.input if cut_at.startswith(BEFORE) else layer.output
    return keras.Model(network.inputs, output, name=network.name)


def feature_extractor(name: str, network: keras.Model) -> keras.Model:
    """uint8 images [N, size, size, 3] in, the means of the last feature maps out, float32 [N, D].

    Args:
        network: a trunk of the backbone `name`.
    """
    images = keras.Input(network.input_shape[1:], dtype="uint8", name="images")
    maps = network(Preprocess(name="preprocess", **architecture(name).preprocessing)(images), training=False)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D(name="pool")(maps), name=f"{name}_features")
