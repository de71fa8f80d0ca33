"""Augmentation of training images, as layers of the network: active in training, absent otherwise.

Dermatoscopy knows no "up": the eight turns and reflections of a square are exact, and cost no resampling.
"""

from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

KINDS = ("none", "dihedral", "standard", "original")

# `standard`: the smallest part of the image's area that a crop keeps, and the range of its height over its width.
SMALLEST_AREA = 0.5
ASPECT_RATIO = (0.8, 1.25)
# How far brightness, contrast and saturation go to either side. The hue stays: it is diagnostic.
COLOR_RANGE = 0.2


@keras.saving.register_keras_serializable("skinlesions")
class RandomDihedral(keras.layers.Layer):
    """Every image [N, H, W, C], H = W, under one of the eight symmetries of the square, each as likely."""

    def __init__(self, seed: int | None = None, **kwargs: object) -> None:
        super().__init__(**{"trainable": False, **kwargs})
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """The images, turned in training and unchanged otherwise."""
        if not training:
            return images
        draws = keras.random.uniform((3, ops.shape(images)[0], 1, 1, 1), seed=self.generator) < 0.5
        images = ops.where(draws[0], ops.flip(images, axis=1), images)
        images = ops.where(draws[1], ops.flip(images, axis=2), images)
        return ops.where(draws[2], ops.transpose(images, (0, 2, 1, 3)), images)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Pixels move, shapes do not."""
        return input_shape

    def get_config(self) -> dict[str, object]:
        """The arguments that rebuild this layer."""
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable("skinlesions")
class RandomResizedCrop(keras.layers.Layer):
    """A random part of every image [N, S, S, C], scaled back to S x S with bilinear interpolation.

    The interpolation is two products with matrices, one for rows and one for columns, which XLA compiles, as it does
    not Keras' own random crops.
    """

    def __init__(
        self, smallest_area: float, aspect_ratio: tuple[float, float], seed: int | None = None, **kwargs: object
    ) -> None:
        super().__init__(**{"trainable": False, **kwargs})
        self.smallest_area, self.aspect_ratio, self.seed = smallest_area, tuple(aspect_ratio), seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """The crops in training, float; the images themselves otherwise, in the same type."""
        images = ops.cast(images, self.compute_dtype)
        if not training:
            return images
        number, size = ops.shape(images)[0], images.shape[1]
        draws = keras.random.uniform((4, number), seed=self.generator)
        area = self.smallest_area + (1 - self.smallest_area) * draws[0]
        low, high = np.log(self.aspect_ratio)
        root = ops.exp((low + (high - low) * draws[1]) / 2)
        height = ops.minimum(ops.sqrt(area) * root, 1.0)
        width = ops.minimum(ops.sqrt(area) / root, 1.0)
        rows = ops.cast(_interpolation(size, draws[2] * (1 - height), height), self.compute_dtype)
        columns = ops.cast(_interpolation(size, draws[3] * (1 - width), width), self.compute_dtype)
        return ops.einsum("nvw,nuwc->nuvc", columns, ops.einsum("nuh,nhwc->nuwc", rows, images))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The crops are scaled back to the size of the images."""
        return input_shape

    def get_config(self) -> dict[str, object]:
        """The arguments that rebuild this layer."""
        own = {"smallest_area": self.smallest_area, "aspect_ratio": self.aspect_ratio, "seed": self.seed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("skinlesions")
class RandomColor(keras.layers.Layer):
    """Every RGB image [N, H, W, 3], 0 to 255, with its brightness, contrast and saturation changed at random.

    Each is multiplied by a factor of its own, uniform in 1 - reach to 1 + reach: contrast about the image's mean,
    saturation about each pixel's grey. (Keras' RandomColorJitter takes a saturation of 0.2 for nearly grey.)
    """

    def __init__(self, reach: float, seed: int | None = None, **kwargs: object) -> None:
        super().__init__(**{"trainable": False, **kwargs})
        self.reach, self.seed = reach, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """The changed images in training, float; the images themselves otherwise, in the same type."""
        images = ops.cast(images, self.compute_dtype)
        if not training:
            return images
        draws = keras.random.uniform((3, ops.shape(images)[0], 1, 1, 1), seed=self.generator)
        brightness, contrast, saturation = ops.unstack(ops.cast(1 + self.reach * (2 * draws - 1), self.compute_dtype))
        grey = ops.mean(images, axis=-1, keepdims=True)
        images = grey + saturation * (images - grey)
        mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
        return ops.clip(brightness * (mean + contrast * (images - mean)), 0, 255)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Colours change, shapes do not."""
        return input_shape

    def get_config(self) -> dict[str, object]:
        """The arguments that rebuild this layer."""
        return {**super().get_config(), "reach": self.reach, "seed": self.seed}


def _interpolation(size: int, start: keras.KerasTensor, length: keras.KerasTensor) -> keras.KerasTensor:
    """The matrices [N, size, size] that scale the part from `start` on, of `length`, to the whole; rows sum to 1.

    Args:
        start: where the part begins, [N], as a share of the whole.
        length: how long it is, [N], as a share of the whole.
    """
    pixels = np.arange(size, dtype="float32")
    position = (start[:, None] + length[:, None] * ((pixels + 0.5) / size)[None]) * size - 0.5
    position = ops.clip(position, 0.0, size - 1.0)
    return ops.maximum(1 - ops.abs(position[:, :, None] - pixels[None, None]), 0.0)


def layers(kind: str, seed: int | None = None) -> keras.Layer:
    """The augmentation called `kind`.

    Args:
        kind: `none`; `dihedral`; `standard`: dihedral, a random resized crop, and jitter of brightness, contrast and
            saturation; or `original`, as published: rotation by up to 180 degrees, shifts, shear and zoom by up to
            10 %, flips, with the nearest pixels filling the border. XLA compiles all but the last. Images are RGB,
            0 to 255.

    Raises:
        ValueError: `kind` is none of these.
    """
    if kind == "none":
        return keras.layers.Identity(name="augmentation")
    if kind == "dihedral":
        return RandomDihedral(seed, name="augmentation")
    # One seed each: with the same one, the first turn, shift and zoom would be the same random number.
    seeds = [None] * 5 if seed is None else np.random.SeedSequence(seed).generate_state(5).tolist()
    if kind == "standard":
        return keras.Sequential(
            [
                RandomDihedral(seeds[0]),
                RandomResizedCrop(SMALLEST_AREA, ASPECT_RATIO, seeds[1]),
                RandomColor(COLOR_RANGE, seeds[2]),
            ],
            name="augmentation",
        )
    if kind == "original":
        return keras.Sequential(
            [
                keras.layers.RandomRotation(0.5, fill_mode="nearest", seed=seeds[0]),
                keras.layers.RandomTranslation(0.1, 0.1, fill_mode="nearest", seed=seeds[1]),
                keras.layers.RandomShear(0.1, 0.1, fill_mode="nearest", seed=seeds[2]),
                keras.layers.RandomZoom(0.1, 0.1, fill_mode="nearest", seed=seeds[3]),
                keras.layers.RandomFlip("horizontal_and_vertical", seed=seeds[4]),
            ],
            name="augmentation",
        )
    raise ValueError(f"unknown augmentation {kind!r}; known: {', '.join(KINDS)}")


def views(squares: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """`squares`, [n, S, S, C], as they are and, if `count` is 8, in the seven other symmetries of the square."""
    yield squares
    if count == 1:
        return
    for turns in range(1, 4):
        yield np.rot90(squares, turns, axes=(1, 2))
    for turns in range(4):
        yield np.rot90(squares[:, :, ::-1], turns, axes=(1, 2))


def preview(images: np.ndarray, kind: str, draws: int, seed: int) -> np.ndarray:
    """`images`, uint8 [n, H, W, 3], under `draws` draws of the augmentation `kind`: float32 [draws, n, H, W, 3]."""
    augment = layers(kind, seed)
    pixels = ops.cast(images, "float32")
    return np.stack([ops.convert_to_numpy(augment(pixels, training=True)) for _ in range(draws)])
