"""Augmentation of training images, as layers of the network: active in training, absent otherwise.

Dermatoscopy knows no "up": the eight turns and reflections of a square are exact, and cost no resampling.
"""

import keras
import numpy as np
from keras import ops

KINDS = ("none", "dihedral", "original")


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


def layers(kind: str, seed: int | None = None) -> keras.Layer:
    """The augmentation called `kind`.

    Args:
        kind: `none`; `dihedral`; or `original`, as published: rotation by up to 180 degrees, shifts, shear and zoom
            by up to 10 %, flips, with the nearest pixels filling the border.

    Raises:
        ValueError: `kind` is none of these.
    """
    if kind == "none":
        return keras.layers.Identity(name="augmentation")
    if kind == "dihedral":
        return RandomDihedral(seed, name="augmentation")
    if kind == "original":
        # One seed each: with the same one, the first turn, shift and zoom would be the same random number.
        seeds = [None] * 5 if seed is None else np.random.SeedSequence(seed).generate_state(5).tolist()
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


def preview(images: np.ndarray, kind: str, draws: int, seed: int) -> np.ndarray:
    """`images`, uint8 [n, H, W, 3], under `draws` draws of the augmentation `kind`: float32 [draws, n, H, W, 3]."""
    augment = layers(kind, seed)
    pixels = ops.cast(images, "float32")
    return np.stack([ops.convert_to_numpy(augment(pixels, training=True)) for _ in range(draws)])
