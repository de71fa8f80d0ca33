"""Where a network looks: Grad-CAM, the cases it is shown on, filters, feature maps, and a check that it means anything.

Grad-CAM (Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV
2017) says which cells of the last feature maps raise the logit of a class. It does not say why, and not whether the
network is right. The check is the cascading randomisation of Adebayo et al., "Sanity Checks for Saliency Maps",
NeurIPS 2018: a map that survives random weights explains nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import keras
import numpy as np
import pandas as pd
from keras import ops
from scipy import stats
from skimage.metrics import structural_similarity

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import predictions
from skinlesions.evaluation import calibration
from skinlesions.inference import predictor
from skinlesions.models import heads, networks
from skinlesions.models.networks import Description

# The kinds of case, in the order in which they are shown.
RIGHT, WRONG, BORDERLINE = CASES = ("right", "wrong", "borderline")

# Images per step: what a large network holds in memory for its gradients stays below about a gigabyte.
BATCH = 16

# The part of a picture in which heat counts as central: the square in the middle with half of the area.
CENTRAL_SIDE = 0.5**0.5

# A map with fewer cells than this on a side has no cell in the middle: each has the same share in the central half, so
# that the heat there is half of all heat, whatever the map.
CENTRAL_CELLS = 3

# The mean rank correlation from which on maps of different pictures are called much the same.
ALIKE = 0.5


# --- the cases ----------------------------------------------------------------------------------------------------


def answers(table: pd.DataFrame) -> pd.DataFrame:
    """What a model answers for every image, with calibrated probabilities: those of several folds can be compared.

    Args:
        table: predictions.csv of the model.

    Returns:
        image_id, dx, fold, predicted, probability, runner_up (the second most probable class), margin (by how much),
        ordered by image_id.
    """
    test = predictions.select(table, "test")
    probabilities = calibration.probabilities(table, "test", "temperature")
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    names = np.array(CLASSES)
    return test[["image_id", "dx", "fold"]].assign(
        predicted=names[order[:, 0]],
        probability=ranked[:, 0],
        runner_up=names[order[:, 1]],
        margin=ranked[:, 0] - ranked[:, 1],
    )


def choose_cases(answered: pd.DataFrame) -> pd.DataFrame:
    """Of every class the most confident right answer, the most confident wrong one, and the closest call.

    The closest call may be right or wrong; of equals the first by image_id is taken. A case that does not exist, such
    as a wrong answer in a class without any, has no row.

    Args:
        answered: `answers` of the model that decides.

    Returns:
        case, and the columns of `answered`, and other: the class that competes with the answer, which is the true one
        if the answer is wrong and the runner-up if it is right. Ordered by case and class.
    """
    is_right = answered["predicted"] == answered["dx"]
    candidates = {
        RIGHT: (answered[is_right], "probability", False),
        WRONG: (answered[~is_right], "probability", False),
        BORDERLINE: (answered, "margin", True),
    }
    chosen = []
    for case, (rows, column, ascending) in candidates.items():
        ordered = rows.sort_values([column, "image_id"], ascending=[ascending, True])
        firsts = ordered.drop_duplicates("dx").set_index("dx", drop=False)
        chosen.append(firsts.loc[[name for name in CLASSES if name in firsts.index]].assign(case=case))
    table = pd.concat(chosen, ignore_index=True)
    other = table["runner_up"].where(table["predicted"] == table["dx"], table["dx"])
    return table[["case", *answered.columns]].assign(other=other)


def answers_to_cases(cases: pd.DataFrame, answered: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What every model answers for every case: case, dx, image_id, fold, model, predicted, probability.

    The fold is the model's own: an image is explained by the network that was tested on it.

    Args:
        answered: `answers` by the name of the model.

    Raises:
        UserError: a model has no prediction for one of the images.
    """
    parts = []
    for name, table in answered.items():
        indexed = table.set_index("image_id")
        if unknown := sorted(set(cases["image_id"]) - set(indexed.index)):
            raise UserError(f"the predictions of {name} lack the image {unknown[0]}; run its train stage again")
        found = indexed.loc[cases["image_id"], ["fold", "predicted", "probability"]].reset_index(drop=True)
        parts.append(pd.concat([cases[["case", "dx", "image_id"]], found], axis=1).assign(model=name))
    columns = ["case", "dx", "image_id", "fold", "model", "predicted", "probability"]
    return pd.concat(parts, ignore_index=True)[columns]


# --- Grad-CAM -----------------------------------------------------------------------------------------------------


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
    inputs = predictor.network_inputs(description, pixels)
    numbers = np.unique(fold)
    network = networks.load(description, int(numbers[0]))
    explainer = GradCam(network)
    order, found = [], []
    for number in numbers:
        if number != numbers[0]:
            _take_fold(network, description, int(number))
        rows = np.flatnonzero(fold == number)
        order.append(rows)
        found.append(explainer(inputs[rows], classes[rows]))
    back = np.argsort(np.concatenate(order))
    return Heat(
        np.concatenate([heat.maps for heat in found])[back], np.concatenate([heat.logits for heat in found])[back]
    )


def _take_fold(network: keras.Model, description: Description, fold: int) -> None:
    """Give `network`, of another fold, the weights of `fold`: quicker than to build it again."""
    weights = networks.folder(description.name) / f"fold_{fold}.weights.h5"
    if description.training != networks.FROZEN:
        networks.load_weights(network, weights)
        return
    width = network.get_layer("standardise").mean.shape[0]
    head = heads.empty_head(width, description.hidden_units, description.dropout, description.l2)
    networks.load_weights(head, weights)
    networks.copy_head(head, network)


def is_empty(maps: np.ndarray) -> np.ndarray:
    """Which of maps [n, h, w] are zero everywhere: no cell speaks for the class. bool [n]."""
    return ~np.asarray(maps).any(axis=(1, 2))


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


def measured(
    answered: pd.DataFrame, found: Mapping[str, Heat], descriptions: Mapping[str, Description]
) -> pd.DataFrame:
    """`answers_to_cases` with what was found for each answer.

    Args:
        found: by model, the heat of the class that it answers in each case.
        descriptions: by model.

    Returns:
        The columns of `answered`, training and initialisation of the model, repeated (whether the network gives the
        recorded answer to the picture as it is, where a recorded answer may be an average over turned and mirrored
        pictures), central_share and empty.
    """
    parts = []
    for name, heat in found.items():
        part = answered[answered["model"] == name]
        repeated = np.array(CLASSES)[heat.logits.argmax(axis=1)] == part["predicted"]
        trained = {"training": descriptions[name].training, "initialisation": descriptions[name].initialisation}
        shares = central_share(heat.maps)
        parts.append(part.assign(**trained, repeated=repeated, central_share=shares, empty=is_empty(heat.maps)))
    return pd.concat(parts, ignore_index=True)


def by_model(cases: pd.DataFrame, found: Mapping[str, Heat]) -> pd.DataFrame:
    """`measured`, a row per model.

    Args:
        cases: what `measured` returned.
        found: what it was given.

    Returns:
        model, training, initialisation; grid_height and grid_width (the cells of its maps); cases, right, repeated and
        empty (counts); the mean central_share; other_pictures, the `likeness` of its maps.
    """
    rows = []
    for name, own in cases.groupby("model", sort=False):
        maps = found[name].maps
        row = {"model": name, **own[["training", "initialisation"]].iloc[0]}
        row |= {"grid_height": maps.shape[1], "grid_width": maps.shape[2], "cases": len(own)}
        row |= {"right": int((own["predicted"] == own["dx"]).sum())}
        row |= {column: int(own[column].sum()) for column in ("repeated", "empty")}
        rows.append(row | {"central_share": own["central_share"].mean(), "other_pictures": likeness(maps)})
    return pd.DataFrame(rows)


def likeness(maps: np.ndarray) -> float:
    """The mean rank correlation between the maps [n, h, w] of different pictures; NaN with fewer than two.

    Maps without any shape, such as empty ones, are left out.
    """
    shaped = maps[np.ptp(maps, axis=(1, 2)) > 0]
    first, second = np.triu_indices(len(shaped), 1)
    return float(spearman(shaped[first], shaped[second]).mean()) if len(first) else float("nan")


def origin(description: Description) -> str:
    """How a model was trained and from which weights, in the few words that stand beside its name in a figure."""
    if description.training == networks.FROM_SCRATCH:
        return description.training
    return f"{description.training}, {description.initialisation} weights"


# --- filters and feature maps -------------------------------------------------------------------------------------


def _body(network: keras.Model) -> keras.Model:
    """The part with the convolutions: the nested trunk, or the network itself."""
    return next((layer for layer in network.layers if isinstance(layer, keras.Model)), network)


def convolutions(network: keras.Model) -> list[keras.Layer]:
    """The convolutions of `network`, from the image on."""
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    return [layer for layer in _body(network).layers if isinstance(layer, kinds)]


def first_filters(network: keras.Model) -> tuple[str, np.ndarray]:
    """The name and the kernels, float32 [height, width, 3, filters], of the convolution that reads the image."""
    layer = convolutions(network)[0]
    return layer.name, np.asarray(layer.get_weights()[0])


def feature_maps(network: keras.Model, inputs: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """What layers make of one image, float32 [h, w, C] by the name of the layer.

    Args:
        inputs: uint8 [1, S, S, 3], what the network reads.
        names: layers of the trunk, or of the network if it has none.
    """
    body = _body(network)
    reader = keras.Model(body.inputs[0], {name: body.get_layer(name).output for name in names})
    images = inputs if body is network else network.get_layer("preprocess")(inputs)
    return {name: ops.convert_to_numpy(maps)[0] for name, maps in reader(images, training=False).items()}


def liveliest(maps: np.ndarray, count: int) -> np.ndarray:
    """The positions of the `count` channels of maps [h, w, C] that vary the most over the image, the first the most."""
    return np.argsort(-maps.var(axis=(0, 1)), kind="stable")[:count]


# --- the sanity check ---------------------------------------------------------------------------------------------


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


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation over the cells of two stacks of maps [n, h, w], float64 [n].

    A map of equal values, such as an empty one, has no order of cells; its correlation counts as 0.
    """
    ranks = [stats.rankdata(part.reshape(len(part), -1), axis=1) for part in (first, second)]
    ranks = [part - part.mean(axis=1, keepdims=True) for part in ranks]
    norm = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    return np.divide((ranks[0] * ranks[1]).sum(axis=1), norm, out=np.zeros(len(norm)), where=norm > 0)


def ssim(first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
    """The structural similarity of two stacks of maps [n, h, w], each scaled to `size` pixels and 0 to 1; float64 [n].

    Source: Wang et al. 2004, as in scikit-image with its uniform window of 7 pixels.
    """
    pairs = zip(scaled(first, size), scaled(second, size), strict=True)
    return np.array([structural_similarity(one, other, data_range=1.0) for one, other in pairs], "float64")


MEASURES = ("spearman", "ssim")


def similarities(first: np.ndarray, second: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Both measures of similarity of two stacks of maps [n, h, w], float64 [n] each."""
    return {"spearman": spearman(first, second), "ssim": ssim(first, second, size)}


def to_other_images(maps: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """How similar the map of each image is to those of the other images, on average; float64 [n] by measure.

    Maps of one network resemble each other whatever the picture: lesions are in the middle. What random weights leave
    over is to be read against this.
    """
    count = len(maps)
    first, second = np.triu_indices(count, 1)
    found = {}
    for name, values in similarities(maps[first], maps[second], size).items():
        total = np.bincount(first, values, count) + np.bincount(second, values, count)
        found[name] = total / max(count - 1, 1)
    return found


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
