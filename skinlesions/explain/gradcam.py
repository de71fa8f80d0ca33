"""Grad-CAM: on which part of a picture a network's answer rests.

Grad-CAM (Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV
2017) says which cells of the last feature maps raise the logit of a class. It does not say why, and not whether the
network is right.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from skinlesions.models import networks
from skinlesions.models.networks import Description

# Images per step: what a large network holds in memory for its gradients stays below about a gigabyte.
BATCH = 16

# The part of a picture in which heat counts as central: the square in the middle with half of the area.
CENTRAL_SIDE = 0.5**0.5

# A map with fewer cells than this on a side has no cell in the middle: each has the same share in the central half, so
# that the heat there is half of all heat, whatever the map.
CENTRAL_CELLS = 3


class _Probe(keras.Model):
    """`head` of maps + offset. The offset starts at zero and is the only thing that is trained."""

    def __init__(self, head: keras.Model, shape: tuple[int, ...], dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.head = lambda maps: head(maps, training=False)  # in a function, so that Keras does not train it as well
        self.offset = self.add_weight(shape=shape, initializer="zeros", dtype=dtype, name="offset")

    def call(self, maps: keras.KerasTensor) -> keras.KerasTensor:
        """The logits [n, C] of `maps` [n, h, w, K]."""
        return self.head(maps + self.offset)


class _ChosenLogits(keras.losses.Loss):
    """Minus the logits that a mask chooses, summed over the images."""

    def __init__(self, dtype: str) -> None:
        super().__init__(reduction="sum", dtype=dtype)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Minus one logit per image [n]; `y_true` one-hot [n, C], `y_pred` logits [n, C]."""
        return -ops.sum(y_true * y_pred, axis=-1)


def gradient(head: keras.Model, maps: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The gradient of the logit of classes[i] with respect to maps[i], for every image i.

    Keras has no gradient that is the same on every backend, but its training has: of a weight that is added to the
    maps and starts at zero, one step of plain gradient descent with rate 1 leaves the gradient itself.

    Args:
        head: feature maps [n, h, w, K] in, logits [n, C] out; run as in prediction, without dropout.
        maps: float [n, h, w, K].
        classes: int [n], positions of the logits.

    Returns:
        In the shape and type of `maps`.
    """
    maps = np.asarray(maps)
    probe = _Probe(head, maps.shape, maps.dtype.name)
    chosen = np.eye(head.output_shape[-1], dtype=maps.dtype)[np.asarray(classes)]
    probe.compile(keras.optimizers.SGD(1.0), _ChosenLogits(maps.dtype.name), run_eagerly=True)
    probe.train_on_batch(maps, chosen)
    return ops.convert_to_numpy(probe.offset.value)


@dataclass(frozen=True)
class Heat:
    """Grad-CAM of some images.

    Attributes:
        maps: float32 [n, h, w], at least 0, one cell per cell of the last feature maps; not scaled.
        logits: float32 [n, 7].
    """

    maps: np.ndarray
    logits: np.ndarray


class GradCam:
    """Grad-CAM of one network. It reads the weights at each call, so that they may be changed in between."""

    def __init__(self, network: keras.Model) -> None:
        maps, logits = networks.last_maps(network).outputs
        self.network = keras.Model(network.inputs[0], [maps, logits])
        self.head = keras.Model(maps, logits)

    def __call__(self, inputs: np.ndarray, classes: np.ndarray) -> Heat:
        """The heat of classes[i] in inputs[i] (Selvaraju et al. 2017, equations 1 and 2).

        Args:
            inputs: uint8 [n, S, S, 3], what the network reads.
            classes: int [n], positions in CLASSES.
        """
        parts = [
            self._batch(inputs[start : start + BATCH], classes[start : start + BATCH])
            for start in range(0, len(inputs), BATCH)
        ]
        return Heat(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _batch(self, inputs: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Called, not `predict`: compiling a network takes longer than the few images that it explains.
        maps, logits = (ops.convert_to_numpy(part) for part in self.network(inputs, training=False))
        importance = gradient(self.head, maps, classes).mean(axis=(1, 2), keepdims=True)
        return np.maximum((importance * maps).sum(axis=-1), 0), logits


def explain(description: Description, pixels: np.ndarray, fold: np.ndarray, classes: np.ndarray) -> Heat:
    """Grad-CAM of images by the networks of a model, each by that of its fold.

    Args:
        pixels: uint8 [n, P, P, 3], prepared images; n is not 0.
        fold: int [n], whose network explains the image.
        classes: int [n], the class that is explained, positions in CLASSES.
    """
    inputs = networks.network_inputs(description, pixels)
    numbers = np.unique(fold)
    network = networks.load(description, int(numbers[0]))
    explainer = GradCam(network)
    order, found = [], []
    for number in numbers:
        if number != numbers[0]:
            networks.take_fold(network, description, int(number))
        rows = np.flatnonzero(fold == number)
        order.append(rows)
        found.append(explainer(inputs[rows], classes[rows]))
    back = np.argsort(np.concatenate(order))
    return Heat(
        np.concatenate([heat.maps for heat in found])[back], np.concatenate([heat.logits for heat in found])[back]
    )


def is_empty(maps: np.ndarray) -> np.ndarray:
    """Which of maps [n, h, w] are zero everywhere: no cell speaks for the class. bool [n]."""
    return ~np.any(maps, axis=(1, 2))


def scaled(maps: np.ndarray, size: int) -> np.ndarray:
    """Maps [n, h, w] as float32 [n, size, size], bilinear, each divided by its maximum; empty ones stay zero."""
    large = ops.image.resize(np.asarray(maps, "float32")[..., None], (size, size), interpolation="bilinear")
    large = ops.convert_to_numpy(large)[..., 0]
    maximum = large.max(axis=(1, 2), keepdims=True)
    return np.divide(large, maximum, out=np.zeros_like(large), where=maximum > 0)


def in_frame(maps: np.ndarray, description: Description) -> np.ndarray:
    """Maps [n, h, w] over the prepared images, float32 [n, P, P], 0 to 1; NaN where the network does not look."""
    size, crop = description.prepared_size, description.crop
    frame = np.full((len(maps), size, size), np.nan, "float32")
    start = (size - crop) // 2
    frame[:, start : start + crop, start : start + crop] = scaled(maps, crop)
    return frame


def central_share(maps: np.ndarray, size: int = 64) -> np.ndarray:
    """The share of the heat of every map that lies in the central half of the area, float64 [n].

    Heat spread evenly has 0.5. NaN if a map is empty, or if the maps are too coarse to have a centre (CENTRAL_CELLS).

    Args:
        size: the side in pixels at which it is measured.
    """
    if min(np.shape(maps)[1:]) < CENTRAL_CELLS:
        return np.full(len(maps), np.nan)
    large = scaled(maps, size).astype("float64")
    distance = np.abs(np.arange(size) + 0.5 - size / 2)
    inside = np.clip(CENTRAL_SIDE * size / 2 - distance + 0.5, 0, 1)  # the share of a pixel that is inside
    total = large.sum(axis=(1, 2))
    central = np.einsum("nij,i,j->n", large, inside, inside)
    return np.divide(central, total, out=np.full(len(large), np.nan), where=total > 0)
