"""What a run needs and can be sure of at once, before hours of download or computation start.

params.yaml is valid; the images, the external test set and the weights that it names are here, or can be had; the
layers that it names exist. Everything that is wrong is said together.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import requests

from skinlesions.core import config, paths
from skinlesions.core.errors import UserError
from skinlesions.data import embeddings, given_splits
from skinlesions.data.sources import dataverse, external_files, external_set, ham10000
from skinlesions.models import weights_files

# Where Keras has its files of weights.
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/"

# Seconds in which a server must answer.
PATIENCE = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """It takes no arguments."""


def run(arguments: argparse.Namespace) -> None:
    """Check params.yaml, then what it asks for."""
    check(config.load())


def check(settings: config.Params) -> None:
    """Refuse to start what could only fail later.

    Raises:
        UserError: all faults there are: files that are absent or have the wrong hash, servers that cannot be reached
            though something must come from them, layers that an architecture does not have, a model too large to be
            published.
    """
    faults = [
        *_device(settings),
        *_images(settings),
        *_external_set(settings),
        *_embeddings(settings),
        *_weights_and_layers(settings),
        *_published_model(settings),
    ]
    if len(faults) == 1:
        raise UserError(faults[0])
    if faults:
        raise UserError(f"{len(faults)} things are in the way:\n" + "\n".join(f"- {fault}" for fault in faults))


def _device(settings: config.Params) -> list[str]:
    """What is wrong with what is to be computed on."""
    if settings.train.device == "any":
        return []
    from skinlesions.models import device  # only here: it starts Keras, which takes seconds

    fault = device.fault()
    return [] if fault is None else [fault]


def _images(settings: config.Params) -> list[str]:
    """What is wrong with where the images come from, and with what is known of them before they are read."""
    if settings.data.source == "sample" or paths.RAW_MANIFEST.exists():
        return []
    folder = ham10000.given_folder(settings.data.folder)
    if folder is not None:
        return _faults(partial(ham10000.read, folder))
    whole = all(dataverse.is_whole(paths.PARTIAL / "download" / file.name, file) for file in dataverse.FILES)
    if whole or _answers(dataverse.BASE_URL):
        return []
    return [f"{dataverse.BASE_URL} does not answer, and the images are not here. {dataverse.WAYS_OUT}"]


def _external_set(settings: config.Params) -> list[str]:
    """What is wrong with where the external test set comes from, and with its diagnoses."""
    if settings.data.external is None or (paths.EXTERNAL_RAW / "source.json").exists():
        return []
    try:
        location = external_files.locate(settings.data.external, ham10000.given_folder(settings.data.folder))
    except UserError as error:
        return [str(error)]
    if location is None:
        return []
    images, ground_truth = location.images, location.ground_truth
    if isinstance(images, Path) and isinstance(ground_truth, Path):
        return _faults(partial(external_set.described, images, ground_truth, settings.data.external))
    remote = [file for file in (images, ground_truth) if isinstance(file, dataverse.PublishedFile)]
    if _answers(dataverse.BASE_URL):
        return []
    names = " and ".join(file.name for file in remote)
    return [
        f"data.external: {names} must come from {dataverse.BASE_URL}, which does not answer; put them into the folder "
        f"of HAM10000, {external_files.SWITCH_OFF}"
    ]


def _embeddings(settings: config.Params) -> list[str]:
    """What is wrong with the features that were computed elsewhere."""
    given = {name: own for name, own in settings.backbones.items() if isinstance(own, config.Embedding)}
    image_ids = _image_ids(settings) if given else None
    return [fault for name, own in given.items() for fault in embeddings.faults(name, own, image_ids)]


def _image_ids(settings: config.Params) -> list[str] | None:
    """The images of the run, where they are known before it: of the last run, or of the local folder."""
    if paths.RAW_METADATA.exists():
        metadata = paths.RAW_METADATA
    else:
        folder = ham10000.given_folder(settings.data.folder)
        if settings.data.source == "sample" or folder is None:
            return None
        try:
            metadata = ham10000.find(folder).metadata
        except UserError:  # what is wrong there is said by `_images`
            return None
    return given_splits.read_metadata(metadata)["image_id"].tolist()


def _weights_and_layers(settings: config.Params) -> list[str]:
    """What is wrong with the weights of the backbones, and with the layers that backbones and models name."""
    networks = {
        name: backbone for name, backbone in settings.backbones.items() if not isinstance(backbone, config.Embedding)
    }
    new = {name: backbone for name, backbone in networks.items() if not (paths.WEIGHTS / f"{name}.weights.h5").exists()}
    begun = [
        (model.backbone, model.fine_tune.from_layer)
        for model in settings.models.values()
        if model.fine_tuned and model.backbone is not None and model.fine_tune is not None
    ]
    if not new and not begun:
        return []
    from skinlesions.training import fine_tuning  # only here: it starts Keras, which takes seconds

    faults = []
    downloads: dict[str, list[str]] = {}
    for name, backbone in new.items():
        if backbone.weights == "none":
            continue
        try:
            file = weights_files.local_file(name, backbone)
        except UserError as error:
            faults.append(str(error))
            continue
        if file is None and weights_files.in_cache_of_keras(backbone.architecture) is None:
            downloads.setdefault(backbone.architecture, []).append(name)
    if downloads and not _answers(KERAS_URL):
        names = ", ".join(sorted(name for names in downloads.values() for name in names))
        faults.append(
            f"the ImageNet weights of {', '.join(sorted(downloads))} must be downloaded, and Keras' server does not "
            f"answer ({KERAS_URL}). Connect to the network; or put files of these names, with .h5 behind, into a "
            f"folder that {weights_files.FOLDER_VARIABLE} names; or take the backbones {names} and their models out of "
            "params.yaml; or give them weights: none"
        )
    for name, backbone in networks.items():
        layers = sorted({layer for own, layer in begun if own == name} - {fine_tuning.ALL})
        if backbone.cut_at is not None or layers:
            faults += [f"backbones.{name}: {fault}" for fault in _faults(partial(_build, backbone, layers))]
    return faults


def _published_model(settings: config.Params) -> list[str]:
    """What is wrong with the model that is to be published; once it is trained, its stage says so as quickly."""
    name = settings.publish.model
    if name is None or (paths.MODELS / name).exists():
        return []
    from skinlesions.inference import publishing  # only here: it starts Keras, which takes seconds
    from skinlesions.models import networks

    model = settings.models[name]
    head = {key: getattr(model.head, key) for key in ("hidden_units", "dropout", "l2")}
    own = head | {"name": name, "folds": settings.split.folds, "views": model.views}
    if model.backbone is None:
        record = dict.fromkeys(("backbone", "architecture", "cut_at", "pooling"))
        record |= {"crop": settings.prepare.size, "image_size": model.image_size}
        own["training"] = networks.FROM_SCRATCH
    else:
        record = settings.backbones[model.backbone].model_dump() | {"backbone": model.backbone}
        own["training"] = networks.FINE_TUNED if model.fine_tuned else networks.FROZEN
    prepared = {"fit": settings.prepare.fit, "size": settings.prepare.size}
    description = networks.from_backbone(record | {"initialisation": ""}, prepared, **own)
    # A layer that does not exist is a fault of the backbone, and named there.
    return [fault for fault in _faults(partial(publishing.check_size, description)) if "publish.model" in fault]


def _build(backbone: config.Backbone, layers: list[str]) -> None:
    """Build the trunk of `backbone`, with random weights, and begin its training at each of `layers`.

    Raises:
        UserError: there is no such layer.
    """
    from skinlesions.models import backbones
    from skinlesions.training import fine_tuning

    trunk = backbones.trunk(backbone.architecture, backbone.image_size, backbone.cut_at)
    for layer in layers:
        fine_tuning.choose_trained(trunk, layer, "trained")


def _faults(work: Callable[[], object]) -> list[str]:
    """What `work` finds wrong."""
    try:
        work()
    except UserError as error:
        return [str(error)]
    return []


def _answers(address: str) -> bool:
    """Whether a server is there, whatever it says."""
    try:
        requests.head(address, timeout=PATIENCE, headers=dataverse.HEADERS)
    except requests.RequestException:
        return False
    return True
