"""Trained models on new images: what a photograph gets from the networks of all folds, calibrated and averaged."""

from collections.abc import Sequence

import keras
import numpy as np
from PIL import Image

from skinlesions.core import paths
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import images, predictions
from skinlesions.evaluation import calibration
from skinlesions.evaluation.metrics import softmax
from skinlesions.models import augmentation, networks

# Images per step through a network.
BATCH = 64


def trained() -> list[str]:
    """The names of all trained models, sorted.

    Raises:
        UserError: there are none.
    """
    names = sorted(path.parent.name for path in paths.MODELS.glob("*/model.json"))
    if not names:
        raise UserError(
            f"there are no trained models in {paths.relative(paths.MODELS)}; `make report` or `dvc repro` trains them, "
            "`dvc pull` fetches them from a DVC remote that has them"
        )
    return names


def ensemble(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over models of their calibrated probabilities [n, 7] each, float64 [n, 7]."""
    return np.mean(np.asarray(probabilities, dtype=np.float64), axis=0)


class Predictor:
    """A trained model, ready for new images: the networks of all its folds.

    The folds share one compiled network, which is given the weights of one after the other; those of a frozen model
    share the features, so that its trunk sees every image once.
    """

    def __init__(self, name: str) -> None:
        """Load the model `name`.

        Raises:
            UserError: there is no such trained model, or its weights or predictions are absent or do not fit.
        """
        self.description = networks.read(name)
        folds = range(self.description.folds)
        path = paths.TRAIN / name / "predictions.csv"
        temperatures = calibration.fold_temperatures(predictions.read(path))
        if sorted(temperatures) != list(folds):
            raise UserError(
                f"{paths.relative(path)} has {len(temperatures)} folds, but the model has {len(folds)}; train it again "
                "with `dvc repro`, or fetch both with `dvc pull`"
            )
        self.temperatures = np.array([temperatures[fold] for fold in folds])
        network = networks.load(self.description, 0)
        if self.description.training == networks.FROZEN:
            self._network = keras.Model(network.inputs, network.get_layer("pool").output)
            width = self._network.output_shape[-1]
            self._heads = [networks.load_head(self.description, fold, width) for fold in folds]
        else:
            self._network = network
            self._weights = [network.get_weights(), *(self._weights_of(fold) for fold in folds[1:])]

    def prepare(self, image: Image.Image) -> np.ndarray:
        """`image` of any size as the square that the model was trained on, uint8 [P, P, 3]."""
        return np.asarray(images.fit(image, self.description.prepared_size, self.description.fit))

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """The logits of every fold's network, averaged over the model's views, float32 [folds, n, 7].

        Args:
            pixels: uint8 [n, P, P, 3], as `prepare` makes them.

        Raises:
            UserError: a logit is not finite.
        """
        inputs = networks.network_inputs(self.description, pixels)
        logits = np.zeros((self.description.folds, len(inputs), len(CLASSES)), "float32")
        if len(inputs) == 0:
            return logits
        if self.description.training == networks.FROZEN:
            for view in augmentation.views(inputs, self.description.views):
                # The heads were trained on features kept as float16.
                features = _in_batches(self._network, view).astype("float16").astype("float32")
                logits += [_in_batches(head, features) for head in self._heads]
        else:
            for fold, weights in enumerate(self._weights):
                self._network.set_weights(weights)
                for view in augmentation.views(inputs, self.description.views):
                    logits[fold] += _in_batches(self._network, view)
        logits /= self.description.views
        if not np.isfinite(logits).all():
            raise UserError(
                f"{self.description.name} gives numbers that are not finite; its weights are damaged: restore "
                f"{paths.relative(networks.folder(self.description.name))} with `dvc pull`, or train it again"
            )
        return logits

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """The probabilities of the classes, float64 [n, 7]: of each fold with its own temperature, then their mean.

        Args:
            pixels: uint8 [n, P, P, 3], as `prepare` makes them.
        """
        return softmax(self.logits(pixels) / self.temperatures[:, None, None]).mean(axis=0)

    def _weights_of(self, fold: int) -> list[np.ndarray]:
        """The weights of the whole network of `fold`; the network keeps them."""
        networks.take_fold(self._network, self.description, fold)
        return self._network.get_weights()


def _in_batches(network: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """What `network` gives for `inputs` [n, ...], float32 [n, ...]; n is not 0.

    All batches have one size, a power of 2 up to BATCH, since a network is compiled anew for every other one.
    """
    size = min(BATCH, 1 << (len(inputs) - 1).bit_length())
    parts = []
    for start in range(0, len(inputs), size):
        batch = np.ascontiguousarray(inputs[start : start + size])
        count = len(batch)
        if count < size:
            batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), batch.dtype)])
        parts.append(np.asarray(network.predict_on_batch(batch))[:count])
    return np.concatenate(parts)
