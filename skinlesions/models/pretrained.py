"""The weights of the backbones: from Keras' own ImageNet files, from a local file, or none.

Whatever the source, the result is one `.weights.h5` file that loads into the plain architecture.
"""

from itertools import pairwise
from pathlib import Path

import keras
import numpy as np

from skinlesions.core import files, paths
from skinlesions.core.config import Backbone
from skinlesions.core.errors import UserError
from skinlesions.models import backbones
from skinlesions.models.weights_files import FOLDER_VARIABLE, in_cache_of_keras, is_of_keras, local_file

RANDOM_SEED = 0
CALIBRATION_IMAGES = 16
# Of their files Keras has no hash, so that what was downloaded is recorded, but was held against nothing.
WITHOUT_HASH = ("mobilenet_v2",)


def fold_rescaling(network: keras.Model) -> None:
    """Give an official EfficientNet the same function as the plain architecture with the same weights file.

    With `weights="imagenet"` Keras adds a rescaling layer by 1/sqrt(s) after the normalisation (x - mean)/sqrt(v);
    without, it does not. Multiplying v by s does the same, so one architecture serves every source of weights.
    """
    pairs = [
        (layer, following)
        for layer, following in pairwise(network.layers)
        if isinstance(layer, keras.layers.Normalization) and isinstance(following, keras.layers.Rescaling)
    ]
    if not pairs:
        return
    ((normalization, following),) = pairs
    mean, variance, *rest = normalization.get_weights()
    factor = np.asarray(following.scale, "float64").reshape(variance.shape)
    normalization.set_weights([mean, (variance / factor**2).astype(variance.dtype), *rest])
    normalization.finalize_state()


def fold_deviations(network: keras.Model) -> None:
    """Do the same to an EfficientNet with weights from a copy of Keras' own file, which comes without that layer."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            mean, variance, *rest = layer.get_weights()
            deviation = np.array(backbones.IMAGENET_DEVIATION).reshape(variance.shape)
            layer.set_weights([mean, (variance * deviation).astype(variance.dtype), *rest])
            layer.finalize_state()


def calibrate(network: keras.Model, architecture: str) -> None:
    """Give a network of random weights the statistics of batch normalisation that its activations have.

    Without them normalisation does nothing, and the activations fade from layer to layer until float16 cannot hold
    them. The images are squares of random colours: like photographs, they have areas and edges.

    Args:
        network: a trunk of `architecture`; changed in place.
    """
    size = network.input_shape[1]
    random = np.random.default_rng(RANDOM_SEED)
    coarse = random.integers(0, 256, (CALIBRATION_IMAGES, 4, 4, 3), "uint8")
    squares = coarse.repeat(-(-size // 4), axis=1).repeat(-(-size // 4), axis=2)[:, :size, :size]
    preprocess = backbones.Preprocess(**backbones.architecture(architecture).preprocessing)
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # the statistics of this one batch replace the initial ones
    network(preprocess(squares), training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def plain(settings: Backbone, weights: str | None = None) -> keras.Model:
    """The trunk that `settings` describe, with random weights or, if `weights` is `imagenet`, Keras' own.

    Raises:
        UserError: the architecture or the layer `cut_at` is unknown.
    """
    return backbones.trunk(settings.architecture, settings.image_size, settings.cut_at, weights)


def load(name: str, settings: Backbone) -> tuple[keras.Model, dict[str, str | None]]:
    """The trunk of the backbone `name` with its weights, and where they came from.

    Raises:
        UserError: a local file is absent, has the wrong hash or does not fit; or Keras' download failed.
    """
    provenance = {
        "backbone": name,
        "architecture": settings.architecture,
        "initialisation": "random" if settings.weights == "none" else "ImageNet",
        "cut_at": settings.cut_at,
        "crop": settings.crop,
        "image_size": settings.image_size,
        "pooling": settings.pooling,
        "file": None,
        "sha256": None,
        "keras": keras.__version__,
    }
    if settings.weights == "none":
        keras.utils.set_random_seed(RANDOM_SEED)
        network = plain(settings)
        calibrate(network, settings.architecture)
        return network, provenance | {"source": "random initialisation"}
    path = local_file(name, settings)
    if path is None:
        try:
            official = plain(settings, weights="imagenet")
        except UserError:
            raise
        except Exception as error:  # keras raises bare Exceptions when a download fails
            raise UserError(
                f"Keras could not download the ImageNet weights of {settings.architecture} ({error}); "
                f"connect to the network, or put {settings.architecture}.h5 into a folder that {FOLDER_VARIABLE} names"
            ) from None
        fold_rescaling(official)
        network, path = _copied(official, settings), in_cache_of_keras(settings.architecture)
        checked = "of which Keras has no hash" if settings.architecture in WITHOUT_HASH else "checked by Keras' hash"
        source = f"Keras' ImageNet weights, {checked}"
    else:
        network, source = _with_file(path, name, settings), settings.origin or "a local file"
    found = {} if path is None else {"file": path.name, "sha256": files.sha256(path)}
    return network, provenance | found | {"source": source}


def _copied(source: keras.Model, settings: Backbone) -> keras.Model:
    """The plain trunk with the weights of `source`, which has the same layers and perhaps some without weights."""
    network = plain(settings)
    network.set_weights(source.get_weights())
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it keeps a copy of mean and variance, which set_weights does not touch
    return network


def _with_file(path: Path, name: str, settings: Backbone) -> keras.Model:
    """The trunk with the weights in `path`, which end where it does or are of the whole architecture.

    Raises:
        UserError: they do not fit.
    """
    network = plain(settings)
    try:
        network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        try:
            network = _copied(plain(settings, weights=str(path)), settings)
        except (ValueError, OSError, KeyError):
            raise UserError(
                f"{path} does not fit {settings.architecture} cut at {settings.cut_at or 'its end'}: {error}; "
                f"check backbones.{name}.architecture and .cut_at"
            ) from None
    if is_of_keras(path, settings.architecture) and settings.architecture in ("efficientnet_b0", "efficientnet_b4"):
        fold_deviations(network)
    return network


def save(name: str, network: keras.Model, provenance: dict[str, str | None]) -> None:
    """Write the weights of `network` and their provenance under data/weights/."""
    target = paths.backbone_weights(name)
    with files.replacing(target) as temporary:
        # Keras insists on the ending, which the temporary name lacks.
        ending = temporary.with_name(f"{temporary.name}.weights.h5")
        network.save_weights(ending)
        ending.replace(temporary)
    files.write_json(paths.backbone_record(name), provenance | {"stored_sha256": files.sha256(target)})
