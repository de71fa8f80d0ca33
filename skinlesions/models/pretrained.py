"""The weights of the backbones: from Keras' own ImageNet files, from a local file, or none.

Whatever the source, the result is one `.weights.h5` file that loads into the plain architecture.
"""

import os
import re
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np

from skinlesions.core import files, paths
from skinlesions.core.config import Backbone
from skinlesions.core.errors import UserError
from skinlesions.models import backbones

FOLDER_VARIABLE = "SKINLESIONS_WEIGHTS_DIR"
RANDOM_SEED = 0
CALIBRATION_IMAGES = 16
# Of their files Keras has no hash, so that what was downloaded is recorded, but was held against nothing.
WITHOUT_HASH = ("mobilenet_v2",)


def local_file(name: str, settings: Backbone) -> Path | None:
    """The local file with the weights of the backbone `name`, its hash checked; None if Keras' download is asked for.

    `imagenet` takes a file of the architecture in the folder that the environment names, if there is one: as a whole
    (`resnet50.h5`) or as far as the backbone goes (`resnet50_to_conv4_block6_out.h5`, `xception_before_LAYER.h5`).

    Raises:
        UserError: a file is named but the folder is not, or has no such file, or its SHA-256 is not the expected one.
    """
    key, folder = f"backbones.{name}.weights", os.environ.get(FOLDER_VARIABLE)
    remedy = f"or set {key} to imagenet, for a file of the architecture or Keras' own download"
    if settings.weights == "imagenet":
        path = next((path for path in _candidates(settings, folder) if path.is_file()), None)
        if path is None:
            return None
    elif not folder:
        raise UserError(
            f"{key} is the file {settings.weights!r}, but {FOLDER_VARIABLE} is not set; "
            f"point it to the folder that holds the file, {remedy}"
        )
    else:
        path = Path(folder).expanduser() / settings.weights
        if not path.is_file():
            raise UserError(f"{key}: there is no file {path}; put it there, {remedy}")
    found = files.sha256(path)
    if settings.sha256 is not None and found != settings.sha256:
        raise UserError(
            f"{key}: {path} has SHA-256 {found}, expected {settings.sha256}; "
            f"fetch the file again, set backbones.{name}.sha256 to null to accept any, {remedy}"
        )
    return path


def _candidates(settings: Backbone, folder: str | None) -> list[Path]:
    """What may hold ImageNet weights of the backbone in `folder`, if it is there: what ends at the same layer first."""
    if not folder:
        return []
    stems = [settings.architecture]
    if settings.cut_at is not None:
        layer = settings.cut_at.removeprefix("before:")
        kind = "to" if layer == settings.cut_at else "before"
        stems.insert(0, f"{settings.architecture}_{kind}_{layer}")
    place = Path(folder).expanduser()
    named = [place / f"{stem}{ending}" for stem in stems for ending in (".h5", ".weights.h5")]
    return named + [path for path in sorted(place.glob("*.h5")) if is_of_keras(path, settings.architecture)]


def is_of_keras(path: Path, architecture: str) -> bool:
    """Whether `path` has the name of Keras' own file of the ImageNet weights of `architecture`, without its top.

    Such as efficientnetv2-b0_notop.h5, or mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5. The
    shortened InceptionResNetV2 takes its blocks from the file of the whole.
    """
    stem = architecture.removesuffix("_5_10_5").replace("_", "")
    return re.fullmatch(f"{stem}(weights.*)?notop", re.sub("[^a-z0-9]", "", path.stem.lower())) is not None


def in_cache_of_keras(architecture: str) -> Path | None:
    """The file of the ImageNet weights of `architecture` that Keras has downloaded, if it has."""
    folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
    return next((path for path in sorted(folder.glob("*.h5")) if is_of_keras(path, architecture)), None)


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
