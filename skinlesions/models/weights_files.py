"""Where the files of the weights of the backbones are, without Keras, whose start takes seconds."""

import os
import re
from pathlib import Path

from skinlesions.core import files, inputs
from skinlesions.core.config import Backbone
from skinlesions.core.errors import UserError

FOLDER_VARIABLE = "SKINLESIONS_WEIGHTS_DIR"

# What a backbone begins with whose weights Keras downloads: which they are, its version says.
OF_KERAS = {"downloaded by Keras": "its own"}


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
    if settings.sha256 is not None and (found := files.sha256(path)) != settings.sha256:
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


def entry(name: str, settings: Backbone) -> inputs.Entry:
    """The file of the weights of the backbone `name`, for inputs.yaml; none for random weights.

    Raises:
        UserError: as `local_file`.
    """
    if settings.weights == "none":
        return {}
    path = local_file(name, settings)
    return OF_KERAS if path is None else {path.name: inputs.digest(path)}
