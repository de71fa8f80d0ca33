"""What is trained here: the head on frozen features, and the baseline CNN from scratch. Both end in seven logits."""

import keras
import numpy as np

from skinlesions.dataset.schema import CLASSES
from skinlesions.models import augmentation
from skinlesions.models.backbones import Preprocess

# Features that hardly vary in training are not blown up when they do vary in test.
SMALLEST_VARIANCE = 1e-4


def head(features: np.ndarray, hidden_units: int, dropout: float, l2: float) -> keras.Model:
    """The published MLP head on standardised features: Dense with L2, Dropout, Dense.

    Args:
        features: the training features, [N, D]; their mean and variance standardise the input.

    Returns:
        float32 [n, D] in, logits float32 [n, 7] out.
    """
    mean = features.mean(axis=0, dtype="float64")
    variance = np.maximum(features.var(axis=0, dtype="float64"), SMALLEST_VARIANCE)
    inputs = keras.Input((features.shape[1],), name="features")
    standardise = keras.layers.Normalization(name="standardise")
    standardise.build(inputs.shape)
    standardise.set_weights([mean.astype("float32"), variance.astype("float32"), np.array(0, "int32")])
    standardise.finalize_state()
    hidden = keras.layers.Dense(
        hidden_units, activation="relu", kernel_regularizer=keras.regularizers.L2(l2), name="hidden"
    )(standardise(inputs))
    hidden = keras.layers.Dropout(dropout, name="dropout")(hidden)
    return keras.Model(inputs, keras.layers.Dense(len(CLASSES), name="logits")(hidden), name="head")


def baseline_cnn(image_size: int, hidden_units: int, dropout: float, l2: float, augmented: str) -> keras.Model:
    """The published baseline: four convolutions (64, 64, 128, 256) with max pooling, Flatten, Dense, Dropout, Dense.

    At 224 pixels and 128 hidden units it has 5,127,367 parameters.

    Args:
        augmented: the augmentation of training images, one of augmentation.KINDS.

    Returns:
        uint8 images [n, size, size, 3] in, logits float32 [n, 7] out.
    """
    images = keras.Input((image_size, image_size, 3), dtype="uint8", name="images")
    maps = Preprocess(scale=(1 / 255,) * 3, name="preprocess")(images)
    maps = augmentation.layers(augmented)(maps)
    for number, filters in enumerate((64, 64, 128, 256), start=1):
        maps = keras.layers.Conv2D(filters, 3, activation="relu", name=f"convolution_{number}")(maps)
        maps = keras.layers.MaxPooling2D(name=f"pool_{number}")(maps)
    hidden = keras.layers.Dense(
        hidden_units, activation="relu", kernel_regularizer=keras.regularizers.L2(l2), name="hidden"
    )(keras.layers.Flatten(name="flatten")(maps))
    hidden = keras.layers.Dropout(dropout, name="dropout")(hidden)
    return keras.Model(images, keras.layers.Dense(len(CLASSES), name="logits")(hidden), name="baseline_cnn")
