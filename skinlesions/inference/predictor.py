"""Trained models on new images: what a photograph gets from the networks of all folds, calibrated and averaged."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import pandas as pd
from PIL import Image

from skinlesions.core import paths
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import images, predictions
from skinlesions.evaluation import new_images
from skinlesions.evaluation.calibration import VectorScaling
from skinlesions.evaluation.metrics import softmax
from skinlesions.models import augmentation, networks

# Images per step through a network.
BATCH = 64

# Views of the same images, uint8 [n, S, S, 3] each, to the sum over the views of the logits of every fold's network,
# float32 [folds, n, 7].
Forward = Callable[[Sequence[np.ndarray]], np.ndarray]


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


def out_of_fold(description: networks.Description) -> pd.DataFrame:
    """The predictions of a trained model, by which its networks are calibrated.

    Raises:
        UserError: they are absent, break the format, or are of another number of folds.
    """
    path = paths.TRAIN / description.name / "predictions.csv"
    table = predictions.read(path)
    if (found := table["fold"].nunique()) != description.folds:
        raise UserError(
            f"{paths.relative(path)} has {found} folds, but the model has {description.folds}; train it again "
            "with `dvc repro`, or fetch both with `dvc pull`"
        )
    return table


class Predictor:
    """A model, ready for new images: the networks of all its folds."""

    def __init__(
        self, description: networks.Description, forward: Forward, scalings: Sequence[VectorScaling], remedy: str
    ) -> None:
        """Put a model together; `load` does so with a trained one.

        Args:
            description: of the model.
            forward: its networks.
            scalings: how the logits of each are calibrated.
            remedy: what to do if its weights are damaged.
        """
        self.description = description
        self.scalings = tuple(scalings)
        self._forward = forward
        self._remedy = remedy

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
        if len(inputs) == 0:
            return np.zeros((self.description.folds, 0, len(CLASSES)), "float32")
        views = list(augmentation.views(inputs, self.description.views))
        logits = self._forward(views) / np.float32(len(views))
        if not np.isfinite(logits).all():
            raise UserError(
                f"{self.description.name} gives numbers that are not finite; its weights are damaged: {self._remedy}"
            )
        return logits

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """The probabilities of the classes, float64 [n, 7]: of each fold with its own vector scaling, then their mean.

        Args:
            pixels: uint8 [n, P, P, 3], as `prepare` makes them.
        """
        each = [softmax(scale(own)) for scale, own in zip(self.scalings, self.logits(pixels), strict=True)]
        return np.mean(each, axis=0)


def load(name: str) -> Predictor:
    """The trained model `name`.

    Raises:
        UserError: there is no such trained model, or its weights or predictions are absent or do not fit.
    """
    description = networks.read(name)
    scalings = new_images.scalings(out_of_fold(description))
    forward = _shared_trunk(description) if description.training == networks.FROZEN else _whole(description)
    remedy = f"restore {paths.relative(networks.folder(name))} with `dvc pull`, or train it again"
    return Predictor(description, forward, scalings, remedy)


def in_turn(network: keras.Model, weights: Sequence[list[np.ndarray]]) -> Forward:
    """One compiled network, which is given the weights of one fold after the other.

    Args:
        network: uint8 images in, logits out.
        weights: of the whole network, by fold, as network.get_weights gives them.
    """

    def forward(views: Sequence[np.ndarray]) -> np.ndarray:
        logits = []
        for own in weights:
            network.set_weights(own)
            logits.append(sum(_in_batches(network, view) for view in views))
        return np.stack(logits)

    return forward


def _whole(description: networks.Description) -> Forward:
    """The networks of a model whose folds share nothing."""
    network = networks.load(description, 0)
    weights = [network.get_weights()]
    for fold in range(1, description.folds):
        networks.take_fold(network, description, fold)
        weights.append(network.get_weights())
    return in_turn(network, weights)


def _shared_trunk(description: networks.Description) -> Forward:
    """The networks of a frozen model, whose trunk sees every image once."""
    network = networks.load(description, 0)
    trunk = keras.Model(network.inputs, network.get_layer("pool").output)
    width = trunk.output_shape[-1]
    heads = [networks.load_head(description, fold, width) for fold in range(description.folds)]

    def forward(views: Sequence[np.ndarray]) -> np.ndarray:
        logits = np.zeros((len(heads), len(views[0]), len(CLASSES)), "float32")
        for view in views:
            # The heads were trained on features kept as float16.
            features = _in_batches(trunk, view).astype("float16").astype("float32")
            logits += [_in_batches(head, features) for head in heads]
        return logits

    return forward


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
