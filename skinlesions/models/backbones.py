"""Architectures by name: uint8 images in, feature maps out, each with the preprocessing that its weights expect.

The preprocessing is part of the network, so that no caller can forget it or apply another network's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from keras import ops

from skinlesions.core.errors import UserError
from skinlesions.models import inception_resnet


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
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
UNCHANGED: dict[str, object] = {}
MINUS_ONE_TO_ONE = {"scale": (1 / 127.5,) * 3, "offset": (-1.0,) * 3}
CAFFE = {"offset": (-103.939, -116.779, -123.68), "reverse_channels": True}
TORCH = {
    "scale": tuple(1 / (255 * deviation) for deviation in IMAGENET_DEVIATION),
    "offset": tuple(-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)),
}


def convnext_tiny(*, weights: str | None, input_shape: tuple[int, int, int]) -> keras.Model:
    """Keras' ConvNeXt-Tiny without its top: the same function, with depthwise layers and a name for the last one.

    Keras writes the depthwise convolutions as grouped ones, which take many times as long on a processor, and numbers
    the last layer in each process.
    """
    official = keras.applications.ConvNeXtTiny(include_top=False, weights=weights, input_shape=input_shape)

    def replacement(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Conv2D) and layer.groups > 1:
            return keras.layers.DepthwiseConv2D(layer.kernel_size, padding=layer.padding, name=layer.name)
        name = "convnext_tiny_layernorm" if layer is official.layers[-1] else layer.name
        return type(layer).from_config(layer.get_config() | {"name": name})

    network = keras.models.clone_model(official, clone_function=replacement)
    # A grouped kernel is [7, 7, 1, C], a depthwise one [7, 7, C, 1].
    values = zip(official.get_weights(), network.weights, strict=True)
    network.set_weights([value.reshape(variable.shape) for value, variable in values])
    return network


@dataclass(frozen=True)
class Architecture:
    """A convolutional network without its top.

    Attributes:
        constructor: takes `weights` (imagenet or None) and `input_shape`, gives the whole trunk.
        preprocessing: what the ImageNet weights expect to be done in front of the trunk, as arguments of Preprocess.
        last_convolution: the layer of the whole trunk with its last convolutional maps.
    """

    constructor: Callable[..., keras.Model]
    preprocessing: dict[str, object]
    last_convolution: str


def _official(network: Callable[..., keras.Model], preprocessing: dict[str, object], last: str) -> Architecture:
    """A network of keras.applications."""
    return Architecture(partial(network, include_top=False), preprocessing, last)


# The EfficientNets and ConvNeXt of keras.applications normalise inside the trunk: UNCHANGED in front of it.
ARCHITECTURES = {
    "convnext_tiny": Architecture(convnext_tiny, UNCHANGED, "convnext_tiny_layernorm"),
    "densenet121": _official(keras.applications.DenseNet121, TORCH, "relu"),
    "efficientnet_b0": _official(keras.applications.EfficientNetB0, UNCHANGED, "top_activation"),
    "efficientnet_b4": _official(keras.applications.EfficientNetB4, UNCHANGED, "top_activation"),
    "efficientnet_v2_b0": _official(keras.applications.EfficientNetV2B0, UNCHANGED, "top_activation"),
    "inception_resnet_v2": _official(keras.applications.InceptionResNetV2, MINUS_ONE_TO_ONE, "conv_7b_ac"),
    "inception_resnet_v2_5_10_5": Architecture(inception_resnet.inception_resnet, MINUS_ONE_TO_ONE, "conv_7b_ac"),
    "inception_v3": _official(keras.applications.InceptionV3, MINUS_ONE_TO_ONE, "mixed10"),
    "mobilenet_v2": _official(keras.applications.MobileNetV2, MINUS_ONE_TO_ONE, "out_relu"),
    "resnet50": _official(keras.applications.ResNet50, CAFFE, "conv5_block3_out"),
    "vgg16": _official(keras.applications.VGG16, CAFFE, "block5_conv3"),
    "xception": _official(keras.applications.Xception, MINUS_ONE_TO_ONE, "block14_sepconv2_act"),
}

# How the last feature maps of an image become one row of features.
POOLING = {
    "average": keras.layers.GlobalAveragePooling2D,
    "flatten": keras.layers.Flatten,
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
        raise UserError(f"unknown architecture {name!r}; known: {', '.join(sorted(ARCHITECTURES))}") from None


def trunk(name: str, image_size: int, cut_at: str | None, weights: str | None = None) -> keras.Model:
    """The convolutional part of an architecture: preprocessed images [N, size, size, 3] in, feature maps out.

    Args:
        name: of the architecture.
        cut_at: the layer whose output is taken, or `before:LAYER` for the input of that layer; None: the whole trunk.
        weights: `imagenet` for Keras' own download; None for random weights.

    Raises:
        UserError: the architecture or the layer is unknown.
    """
    network = architecture(name).constructor(weights=weights, input_shape=(image_size, image_size, 3))
    if cut_at is None:
        return network
    layer_name = cut_at.removeprefix(BEFORE)
    if layer_name not in {layer.name for layer in network.layers}:
        names = ", ".join(layer.name for layer in network.layers[-40:])
        raise UserError(f"cut_at: {name} has no layer {layer_name!r}; its last 40 layers are {names}")
    layer = network.get_layer(layer_name)
    output = layer.input if cut_at.startswith(BEFORE) else layer.output
    return keras.Model(network.inputs, output, name=network.name)


def feature_extractor(name: str, architecture_name: str, network: keras.Model, pooling: str) -> keras.Model:
    """uint8 images [N, size, size, 3] in, their features out, float32 [N, D].

    Args:
        name: of the backbone.
        network: a trunk of the architecture.
        pooling: `average` for the mean of each of the last feature maps; `flatten` for all their values.

    Raises:
        UserError: the architecture or the pooling is unknown.
    """
    if pooling not in POOLING:
        raise UserError(f"backbones.{name}.pooling: unknown pooling {pooling!r}; known: {', '.join(POOLING)}")
    images = keras.Input(network.input_shape[1:], dtype="uint8", name="images")
    preprocess = Preprocess(name="preprocess", **architecture(architecture_name).preprocessing)
    maps = network(preprocess(images), training=False)
    return keras.Model(images, POOLING[pooling](name="pool")(maps), name=f"{name}_features")
