"""Small networks, images and heat maps for the tests of explanations."""

import keras
import numpy as np
from keras import layers

from skinlesions.explain import sanity_check
from skinlesions.models import networks


def small_network(size=12, filters=7):
    """A network in the form of networks.classifier: one convolution of 1 x 1, mean, and a linear layer."""
    inner = keras.Input((size, size, 3))
    trunk = keras.Model(inner, layers.Conv2D(filters, 1, activation="relu", name="convolution")(inner), name="trunk")
    pixels = keras.Input((size, size, 3), dtype="uint8", name="images")
    maps = trunk(layers.Rescaling(1 / 255, name="preprocess")(pixels))
    return keras.Model(pixels, layers.Dense(7, name="logits")(layers.GlobalAveragePooling2D(name="pool")(maps)))


def noise(count, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def description(**changed):
    own = {"name": "model", "training": networks.FROM_SCRATCH, "initialisation": "random", "fit": "crop", "folds": 2}
    own |= {"backbone": None, "architecture": None, "cut_at": None, "pooling": None, "views": 1}
    own |= {"prepared_size": 60, "crop": 60, "image_size": 48, "hidden_units": 8, "dropout": 0.5, "l2": 0.0}
    return networks.Description(**(own | changed))


def made_up(later):
    """A cascade of three steps over twelve images; what the later steps show is given."""
    first = np.random.default_rng(0).uniform(size=(12, 5, 5)).astype("float32")
    kept = np.array([[True] * 12, [True] * 6 + [False] * 6, [False] * 12])
    return sanity_check.Cascade(["", "logits", "first"], np.array([0, 1, 4]), np.stack([first, *later(first)]), kept)
