"""What is trained here: the head on features, and the baseline CNN from scratch. Both end in seven logits."""

import keras
import numpy as np

from skinlesions.core.classes import CLASSES
from skinlesions.models import augmentation
from skinlesions.models.backbones import Preprocess

# A feature that varies in training less than this share of what is usual is not blown up when it does vary in test.
SMALLEST_SHARE = 1e-3


@keras.saving.register_keras_serializable("skinlesions")
class Standardise(keras.layers.Layer):
    """Features [n, D] less their mean over their standard deviation, both kept as weights.

    Keras' Normalization bakes the two into the compiled function, so a network could not be given another fold's.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**{"trainable": False, **kwargs})

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the two weights: mean 0, deviation 1."""
        self.mean = self.add_weight(shape=input_shape[-1:], initializer="zeros", trainable=False, name="mean")
        self.deviation = self.add_weight(shape=input_shape[-1:], initializer="ones", trainable=False, name="deviation")

    def call(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """The standardised features."""
        return (features - self.mean) / self.deviation

    def fit(self, features: np.ndarray) -> None:
        """Take the two from training features [N, D]."""
        variance = features.var(axis=0, dtype="float64")
        usual = np.median(variance[variance > 0]) if variance.any() else 1.0
        variance = np.maximum(variance, SMALLEST_SHARE * usual)
        self.set_weights([features.mean(axis=0, dtype="float64"), np.sqrt(variance)])


def logits(features: keras.KerasTensor, hidden_units: int, dropout: float, l2: float) -> keras.KerasTensor:
    """The published MLP head on standardised features: Dense with L2, Dropout, Dense. [n, D] in, [n, 7] out.

    In float32 whatever the precision of what comes before: it costs nothing, and the logits are kept.
    """
    features = Standardise(name="standardise", dtype="float32")(features)
    hidden = keras.layers.Dense(
        hidden_units, activation="relu", kernel_regularizer=keras.regularizers.L2(l2), name="hidden", dtype="float32"
    )(features)
    hidden = keras.layers.Dropout(dropout, name="dropout", dtype="float32")(hidden)
    return keras.layers.Dense(len(CLASSES), name="logits", dtype="float32")(hidden)


def head(features: np.ndarray, hidden_units: int, dropout: float, l2: float) -> keras.Model:
    """The head as a network of its own, for cached features.

    Args:
        features: the training features, [N, D]; their mean and variance standardise the input.

    Returns:
        float32 [n, D] in, logits float32 [n, 7] out.
    """
    network = empty_head(features.shape[1], hidden_units, dropout, l2)
    network.get_layer("standardise").fit(features)
    return network


def empty_head(width: int, hidden_units: int, dropout: float, l2: float) -> keras.Model:
    """The head for features of `width` numbers, to load weights into."""
    inputs = keras.Input((width,), name="features")
    return keras.Model(inputs, logits(inputs, hidden_units, dropout, l2), name="head")


def baseline_cnn(image_size: int, hidden_units: int, dropout: float, l2: float, augmented: str) -> keras.Model:
    """The published baseline: four convolutions (64, 64, 128, 256) with max pooling, Flatten, Dense, Dropout, Dense.

    At 224 pixels and 128 hidden units it has 5,127,367 parameters.

    Args:
        augmented: the augmentation of training images, one of augmentation.KINDS.

    Returns:
        uint8 images [n, size, size, 3] in, logits float32 [n, 7] out.
    """
    images = keras.Input((image_size, image_size, 3), dtype="uint8", name="images")
    maps = Preprocess(scale=(1 / 255,) * 3, name="preprocess")(augmentation.layers(augmented)(images))
    for number, filters in enumerate((64, 64, 128, 256), start=1):
        maps = keras.layers.Conv2D(filters, 3, activation="relu", name=f"convolution_{number}")(maps)
        maps = keras.layers.MaxPooling2D(name=f"pool_{number}")(maps)
    hidden = keras.layers.Dense(
        hidden_units, activation="relu", kernel_regularizer=keras.regularizers.L2(l2), name="hidden"
    )(keras.layers.Flatten(name="flatten")(maps))
    hidden = keras.layers.Dropout(dropout, name="dropout")(hidden)
    return keras.Model(images, keras.layers.Dense(len(CLASSES), name="logits")(hidden), name="baseline_cnn")
