"""Whether heat maps depend on what a network has learned at all.

The check is the cascading randomisation of Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: a map that
survives random weights explains nothing.
"""

from dataclasses import dataclass
from itertools import pairwise

import keras
import numpy as np
import pandas as pd
from scipy import stats

from skinlesions.core.errors import UserError
from skinlesions.explain.gradcam import GradCam, is_empty
from skinlesions.explain.similarity import MEASURES, similarities, to_other_images
from skinlesions.models import heads


def sample(answered: pd.DataFrame, fold: int, images: int, seed: int) -> pd.DataFrame:
    """Rows of `answered` that the network of `fold` was tested on, drawn at random, as even over the classes as can be.

    Args:
        images: how many; all, if there are not as many.
    """
    tested = answered[answered["fold"] == fold]
    shuffled = tested.sample(frac=1, random_state=np.random.default_rng(seed))
    turn = shuffled.groupby("dx").cumcount()
    return shuffled.assign(turn=turn).sort_values(["turn", "dx"]).drop(columns="turn").head(images)


def _weighted(network: keras.Model) -> list[keras.Layer]:
    """The layers with learned weights, from the image on, those of nested models included.

    Standardisation is not among them: it holds statistics of the training data, nothing learned.
    """
    found = []
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            found += _weighted(layer)
        elif layer.weights and not isinstance(layer, (keras.layers.Normalization, heads.Standardise)):
            found.append(layer)
    return found


def randomisation_steps(network: keras.Model, blocks: int) -> list[list[keras.Layer]]:
    """The layers that each step of the cascade randomises, from the logits down to the first layer.

    Each dense layer is a step of its own; the convolutions, each with the normalisation after it, are dealt to at
    most `blocks` steps of about equal length. The last layer of a step is the one nearest to the image.
    """
    units: list[list[keras.Layer]] = []
    for layer in _weighted(network):
        is_normalisation = isinstance(layer, (keras.layers.BatchNormalization, keras.layers.LayerNormalization))
        if is_normalisation and units:
            units[-1].insert(0, layer)
        else:
            units.append([layer])
    units.reverse()
    dense = [unit for unit in units if isinstance(unit[-1], keras.layers.Dense)]
    rest = [unit for unit in units if not isinstance(unit[-1], keras.layers.Dense)]
    ends = np.linspace(0, len(rest), min(blocks, len(rest)) + 1).round().astype(int)
    parts = [rest[start:end] for start, end in pairwise(ends)]
    return [*dense, *([layer for unit in part for layer in unit] for part in parts)]


def reinitialise(layer: keras.Layer) -> None:
    """Give `layer` fresh weights from its own initialisers, as an untrained network has them.

    Batch normalisation returns to scale 1, shift 0, mean 0 and variance 1. The draw follows the seed of
    keras.utils.set_random_seed.
    """
    fresh = type(layer).from_config(layer.get_config())
    fresh.build_from_config(layer.get_build_config())
    layer.set_weights(fresh.get_weights())


@dataclass(frozen=True)
class Cascade:
    """Grad-CAM of the same images and classes while a network loses what it has learned.

    Attributes:
        reached: the layer nearest to the image that is random so far, one name per step; the first is empty, as
            nothing is random yet.
        layers: how many layers with weights are random so far, int [steps].
        maps: float32 [steps, n, h, w].
        kept: bool [steps, n], whether the network still gives its first answer.
    """

    reached: list[str]
    layers: np.ndarray
    maps: np.ndarray
    kept: np.ndarray


def cascade(network: keras.Model, inputs: np.ndarray, classes: np.ndarray, blocks: int, seed: int) -> Cascade:
    """Randomise `network` from the logits down to the first layer, in place, and explain the images after each step.

    Args:
        inputs: uint8 [n, S, S, 3].
        classes: int [n], the classes explained, the same at every step.
        blocks: the steps to which the convolutions are dealt.
    """
    keras.utils.set_random_seed(seed)
    explainer = GradCam(network)
    steps = randomisation_steps(network, blocks)
    found = [explainer(inputs, classes)]
    for step in steps:
        for layer in step:
            reinitialise(layer)
        found.append(explainer(inputs, classes))
    answer = np.stack([heat.logits.argmax(axis=1) for heat in found])
    return Cascade(
        reached=["", *(step[-1].name for step in steps)],
        layers=np.cumsum([0, *(len(step) for step in steps)]),
        maps=np.stack([heat.maps for heat in found]),
        kept=answer == answer[0],
    )


@dataclass(frozen=True)
class Sanity:
    """What is left of the maps of a network while it loses what it has learned.

    Attributes:
        curve: step, reached, layers, images, answers_kept (the share of unchanged answers), empty (how many maps are
            zero), and for each measure its mean over the images and its quartiles (`_low`, `_high`).
        other_images: the mean similarity to the map of another image, by measure.
        excess: by measure, the mean of what the last step's similarity is above that, and its interval: mean, low,
            high.
    """

    curve: pd.DataFrame
    other_images: dict[str, float]
    excess: dict[str, tuple[float, float, float]]


def sanity(found: Cascade, size: int, confidence: float) -> Sanity:
    """The similarity of the maps at each step with those of the trained network.

    Images whose map is the same everywhere to begin with are left out: there is nothing to survive.

    Args:
        size: the pixels at which structure is compared.
        confidence: of the interval of the excess (Student's t over the images).

    Raises:
        UserError: fewer than three images are left.
    """
    maps = found.maps[:, np.ptp(found.maps[0], axis=(1, 2)) > 0]
    count = maps.shape[1]
    if count < 3:
        raise UserError(f"only {count} of the sampled images have a map with any shape; set explain.images to more")
    rows = []
    for step, (reached, layers) in enumerate(zip(found.reached, found.layers, strict=True)):
        row = {"step": step, "reached": reached, "layers": int(layers), "images": count}
        row |= {"answers_kept": found.kept[step].mean(), "empty": int(is_empty(maps[step]).sum())}
        values = similarities(maps[0], maps[step], size)
        for name in MEASURES:
            low, high = np.quantile(values[name], (0.25, 0.75))
            row |= {name: values[name].mean(), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    others = to_other_images(maps[0], size)
    excess = {}
    for name in MEASURES:
        difference = values[name] - others[name]
        half = stats.t.ppf((1 + confidence) / 2, count - 1) * difference.std(ddof=1) / count**0.5
        excess[name] = (difference.mean(), difference.mean() - half, difference.mean() + half)
    return Sanity(pd.DataFrame(rows), {name: float(others[name].mean()) for name in MEASURES}, excess)
