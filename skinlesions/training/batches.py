"""How images reach a network that is fine-tuned: from the memory of the device or in batches, mixed or as they are."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("skinlesions")
class ImageStore(keras.layers.Layer):
    """Keeps all images in the memory of the device: row numbers int [n] in, uint8 images [n, S, S, 3] out."""

    def __init__(self, images: np.ndarray, **kwargs: object) -> None:
        super().__init__(**{"trainable": False, "dtype": "float32", **kwargs})
        self.images = self.add_weight(
            shape=images.shape,
            dtype="uint8",
            initializer=lambda shape, dtype: ops.convert_to_tensor(images),
            trainable=False,
            autocast=False,
            name="images",
        )

    def call(self, rows: keras.KerasTensor) -> keras.KerasTensor:
        """The images of these rows."""
        return ops.take(self.images, rows, axis=0)


@keras.saving.register_keras_serializable("skinlesions")
class MixUp(keras.layers.Layer):
    """Every image of a batch [n, S, S, 3] mixed with the one before it, of which it keeps its share [n].

    Source: Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018, eq. 1. `Batches` mixes the targets.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**{"trainable": False, **kwargs})

    def call(self, images: keras.KerasTensor, shares: keras.KerasTensor) -> keras.KerasTensor:
        """The mixed images, float."""
        images = ops.cast(images, self.compute_dtype)
        shares = ops.reshape(ops.cast(shares, self.compute_dtype), (-1, 1, 1, 1))
        return shares * images + (1 - shares) * ops.roll(images, 1, axis=0)


class Batches(keras.utils.PyDataset):
    """Images in order with targets and sample weights, batch by batch; what does not fill a last one is left out."""

    def __init__(
        self,
        inputs: np.ndarray,
        rows: np.ndarray,
        targets: np.ndarray,
        sample_weights: np.ndarray,
        batch_size: int,
        shares: np.ndarray | None = None,
    ) -> None:
        """All that an epoch shows.

        Args:
            inputs: the images, or what stands for them, [N, ...].
            rows: which of them, in order, int [n].
            targets: their distributions over the classes, [n, 7].
            sample_weights: how much they count, [n].
            batch_size: images per step.
            shares: how much of each image is kept when it is mixed with the one before it, [n]; None: all.
        """
        # A second thread gathers the next images while the device works on these.
        super().__init__(workers=2, max_queue_size=4)
        self.inputs, self.rows, self.targets, self.sample_weights = inputs, rows, targets, sample_weights
        self.batch_size, self.shares = batch_size, shares

    def __len__(self) -> int:
        """The number of batches."""
        return len(self.rows) // self.batch_size

    def __getitem__(self, number: int) -> tuple[np.ndarray | tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
        """Batch `number`: inputs (with the shares, if there are any), targets, sample weights."""
        part = slice(number * self.batch_size, (number + 1) * self.batch_size)
        inputs, targets, sample_weights = self.inputs[self.rows[part]], self.targets[part], self.sample_weights[part]
        if self.shares is None:
            return inputs, targets, sample_weights
        # A mixed image counts as much as its two parts together; its target is what they weigh in that.
        shares = self.shares[part]
        own, other = shares * sample_weights, (1 - shares) * np.roll(sample_weights, 1)
        mixed = own[:, None] * targets + other[:, None] * np.roll(targets, 1, axis=0)
        return (inputs, shares), mixed / (own + other)[:, None], own + other
