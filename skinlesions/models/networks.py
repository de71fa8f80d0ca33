"""Whole networks, from the pixels of an image to seven logits, and the description from which one is built again."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from skinlesions.core import files, paths
from skinlesions.core.errors import UserError
from skinlesions.data import images
from skinlesions.models import backbones, heads

FROZEN, FINE_TUNED, FROM_SCRATCH = "frozen features", "fine-tuned", "from scratch"


@dataclass(frozen=True)
class Description:
    """What it takes to build a trained model again and to feed it a new image: data/models/NAME/model.json.

    Attributes:
        name: of the model.
        training: FROZEN (a head on the features of a frozen trunk), FINE_TUNED or FROM_SCRATCH (the baseline CNN).
        initialisation: of the trunk before any training here: ImageNet or random; or embedding: there is no trunk, and
            the head reads features that were computed elsewhere.
        backbone: whose trunk it is, and whose weights a frozen model has; None for the baseline CNN.
        architecture: of the trunk; None for the baseline CNN and on an embedding.
        cut_at: the layer that ends the trunk; None: the whole trunk.
        pooling: how the last feature maps become features; None for the baseline CNN.
        fit: how an image becomes a square of `prepared_size` pixels, as in params.yaml.
        prepared_size: the side of that square.
        crop: the side of its centre that is used, in pixels.
        image_size: what the crop is scaled to, in pixels: what the network reads.
        hidden_units, dropout, l2: of the head.
        folds: how many networks there are, one per fold.
        views: over how many symmetries of the square the logits are averaged, 1 or 8.
    """

    name: str
    training: str
    initialisation: str
    backbone: str | None
    architecture: str | None
    cut_at: str | None
    pooling: str | None
    fit: str
    prepared_size: int
    crop: int
    image_size: int
    hidden_units: int
    dropout: float
    l2: float
    folds: int
    views: int

    @property
    def reads_images(self) -> bool:
        """Whether the network reads images: on an embedding it reads features that nothing here makes of an image."""
        return self.training == FROM_SCRATCH or self.architecture is not None


def folder(name: str) -> Path:
    """Where the description and the weights of the model `name` are."""
    return paths.MODELS / name


def fold_weights(name: str, fold: int) -> Path:
    """Where the trained weights of one fold of the model `name` are: of the head, if its trunk is frozen."""
    return folder(name) / f"fold_{fold}.weights.h5"


def write(description: Description, target: Path) -> None:
    """Write `description` as model.json into the folder `target`."""
    files.write_json(target / "model.json", asdict(description))


def read(name: str) -> Description:
    """The description of the trained model `name`.

    Raises:
        UserError: there is no trained model of that name; the message lists those there are.
    """
    path = folder(name) / "model.json"
    if not path.is_file():
        known = sorted(found.parent.name for found in paths.MODELS.glob("*/model.json"))
        raise UserError(
            f"there is no trained model {name!r} in {paths.relative(paths.MODELS)}; "
            + (f"there are {', '.join(known)}" if known else "`make report` trains them, `dvc pull` fetches them")
        )
    return Description(**files.read_json(path))


def from_backbone(record: dict[str, object], prepared: dict[str, object], **own: object) -> Description:
    """The description of a model on a backbone.

    Args:
        record: of the backbone's weights, data/weights/BACKBONE.json.
        prepared: how the prepared images were made, data/prepared/settings.json.
        own: name, training, hidden_units, dropout, l2, folds and views.
    """
    taken = ("initialisation", "backbone", "architecture", "cut_at", "pooling", "crop", "image_size")
    settings = {"fit": prepared["fit"], "prepared_size": prepared["size"]}
    # What an embedding was made of is not known here.
    sizes = {key: record[key] or prepared["size"] for key in ("crop", "image_size")}
    return Description(**({key: record[key] for key in taken} | sizes), **settings, **own)


def without_images(models: Iterable[str]) -> list[str]:
    """Those of the trained `models` that read an embedding, and so have nothing to say of a new image."""
    return [name for name in models if not read(name).reads_images]


def network_inputs(description: Description, pixels: np.ndarray) -> np.ndarray:
    """What the network reads, uint8 [n, S, S, 3], of prepared squares, uint8 [n, P, P, 3].

    The baseline CNN is trained on averages of pixels, networks on backbones on bicubic samples.
    """
    if description.training == FROM_SCRATCH:
        return images.scaled(pixels, description.image_size, Image.Resampling.BOX)
    return images.network_inputs(pixels, description.crop, description.image_size)


def trunk(description: Description) -> keras.Model:
    """The trunk, as a network called `trunk`: preprocessed images in, feature maps out; with random weights."""
    network = backbones.trunk(description.architecture, description.image_size, description.cut_at)
    return keras.Model(network.inputs, network.output, name="trunk")


def classifier(description: Description, network: keras.Model) -> keras.Model:
    """Trunk and head in one.

    Args:
        network: what `trunk` gave.

    Returns:
        uint8 images [n, S, S, 3] in, logits float32 [n, 7] out; layers images, preprocess, trunk, pool, standardise,
        hidden, dropout, logits.
    """
    assert description.pooling is not None  # only the baseline CNN, which has no trunk, has none
    pixels = keras.Input(network.input_shape[1:], dtype="uint8", name="images")
    preprocessing = backbones.architecture(description.architecture).preprocessing
    maps = network(backbones.Preprocess(name="preprocess", **preprocessing)(pixels))
    features = backbones.POOLING[description.pooling](name="pool")(maps)
    logits = heads.logits(features, description.hidden_units, description.dropout, description.l2)
    return keras.Model(pixels, logits, name="classifier")


def copy_head(source: keras.Model, target: keras.Model) -> None:
    """Give `target` the head of `source`: a network of heads.head, or a classifier."""
    for name in ("standardise", "hidden", "logits"):
        target.get_layer(name).set_weights(source.get_layer(name).get_weights())


def build(description: Description) -> keras.Model:
    """The network that `description` describes, with random weights: pixels in, logits out, as `load` gives it."""
    if description.training == FROM_SCRATCH:
        head = (description.hidden_units, description.dropout, description.l2)
        return heads.baseline_cnn(description.image_size, *head, "none")
    return classifier(description, trunk(description))


def load(description: Description, fold: int) -> keras.Model:
    """The network of `fold` with its trained weights.

    Returns:
        uint8 images [n, image_size, image_size, 3] in, logits float32 [n, 7] out. Layers by name: images, preprocess,
        trunk, pool, standardise, hidden, dropout, logits; the baseline CNN has no trunk, but convolution_1, pool_1
        and so on.

    Raises:
        UserError: weights are absent or do not fit, or the model reads an embedding.
    """
    if not description.reads_images:
        raise UserError(
            f"{description.name} reads the embedding {description.backbone}, which was computed elsewhere: it has no "
            "network for images"
        )
    network = build(description)
    if description.training == FROZEN:
        load_weights(network.get_layer("trunk"), paths.backbone_weights(description.backbone))
    take_fold(network, description, fold)
    return network


def take_fold(network: keras.Model, description: Description, fold: int) -> None:
    """Give `network`, which `load` built for any fold, the weights of `fold`: quicker than to build it again.

    Raises:
        UserError: weights are absent or do not fit.
    """
    if description.training == FROZEN:
        copy_head(load_head(description, fold, network.get_layer("standardise").mean.shape[0]), network)
    else:
        load_weights(network, fold_weights(description.name, fold))


def load_head(description: Description, fold: int, width: int) -> keras.Model:
    """The trained head of a frozen model: `width` features in, logits out.

    Raises:
        UserError: weights are absent or do not fit.
    """
    head = heads.empty_head(width, description.hidden_units, description.dropout, description.l2)
    load_weights(head, fold_weights(description.name, fold))
    return head


def last_maps(network: keras.Model) -> keras.Model:
    """`network` with two outputs: the maps of its last convolutional stage, and its logits.

    That is the end of the trunk: its last convolution or, in VGG16, the pooling right behind it.
    """
    names = [layer.name for layer in network.layers]
    if "trunk" in names:
        maps = network.get_layer("pool").input
    else:
        maps = network.get_layer([name for name in names if name.startswith("convolution_")][-1]).output
    return keras.Model(network.inputs, [maps, network.output])


def load_weights(network: keras.Model, path: Path) -> None:
    """Load weights; a UserError says what to do if that is not possible."""
    try:
        network.load_weights(path)
    except FileNotFoundError:
        raise UserError(f"{paths.relative(path)} does not exist; `make report` or `dvc pull` brings it") from None
    except (ValueError, OSError, KeyError) as error:
        raise UserError(f"{paths.relative(path)} does not fit the network {network.name}: {error}") from None
