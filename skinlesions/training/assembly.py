"""One model of params.yaml put together: what it reads, how it is trained, and how it describes itself."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinlesions.core import config, files, paths
from skinlesions.core.progress import Progress
from skinlesions.data import balancing
from skinlesions.models import networks, resumption
from skinlesions.training import cross_validation, fine_tuning, first_phase

# Prepared images that are cropped and scaled at a time.
CHUNK = 256


def describe(name: str, settings: config.Model, folds: int) -> networks.Description:
    """The description of the model `name`, from its settings and from what the stages before left in data/."""
    prepared = files.read_json(paths.PREPARED_SETTINGS)
    own: dict[str, Any] = {"name": name, "folds": folds}
    own |= {"hidden_units": settings.head.hidden_units, "dropout": settings.head.dropout, "l2": settings.head.l2}
    if settings.backbone is None:
        none = dict.fromkeys(("backbone", "architecture", "cut_at", "pooling"))
        sizes = {"prepared_size": prepared["size"], "crop": prepared["size"], "image_size": settings.image_size}
        how = {"training": networks.FROM_SCRATCH, "initialisation": "random", "fit": prepared["fit"]}
        return networks.Description(**none, **sizes, **how, views=settings.views, **own)
    record = files.read_json(paths.backbone_record(settings.backbone))
    training, views = networks.FROZEN, 1
    if settings.fine_tune and settings.fine_tuned:
        training, views = networks.FINE_TUNED, settings.fine_tune.views
    return networks.from_backbone(record, prepared, training=training, views=views, **own)


def read_images(description: networks.Description) -> np.ndarray:
    """All prepared images as the network reads them, uint8 [N, S, S, 3]."""
    count = len(files.read_array(paths.PREPARED_IMAGES, memory_map=True))
    size = description.image_size
    result = np.empty((count, size, size, 3), "uint8")
    with Progress(f"{description.name}: scale", count) as progress:
        for start in range(0, count, CHUNK):
            part = files.read_rows(paths.PREPARED_IMAGES, start, start + CHUNK)
            result[start : start + CHUNK] = networks.network_inputs(description, part)
            progress.advance(len(part))
    return result


def train(
    description: networks.Description,
    data: cross_validation.Data,
    plan: balancing.Plan,
    settings: config.Model,
    *,
    seed: int,
) -> cross_validation.Result:
    """Train the model on all folds; finished work of an interrupted run is used again."""
    inputs, tuner = [paths.DATA / settings.inputs, paths.FOLDS], None
    if settings.fine_tuned:
        inputs += [paths.PREPARED_IMAGES, paths.backbone_weights(description.backbone)]
        pixels = read_images(description)
        tuner = fine_tuning.FineTuner(description, settings.fine_tune, pixels, data, plan, seed=seed)
    return cross_validation.cross_validate(
        first_phase.builder(settings.head, settings.augmentation),
        data,
        settings.head,
        plan,
        seed=seed,
        name=description.name,
        views=description.views,
        second_phase=tuner,
        weights_folder=networks.folder(description.name),
        partial=partial(description.name),
        key=resumption.key(__name__, inputs, description=asdict(description), settings=settings.model_dump()),
    )


def partial(name: str) -> Path:
    """Where the unfinished work of the model `name` is."""
    return paths.PARTIAL / "train" / name


def last_phase(history: pd.DataFrame) -> pd.DataFrame:
    """The rows of `history` of the phase whose weights are kept."""
    return history[history["phase"] == history["phase"].max()]
