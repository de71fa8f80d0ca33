"""One model of params.yaml put together: what it reads, how it is trained, and how it describes itself."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from skinlesions.core import files, paths
from skinlesions.core.progress import Progress
from skinlesions.data import balancing, images
from skinlesions.models import networks
from skinlesions.training import cross_validation, fine_tuning

# Prepared images that are cropped and scaled at a time.
CHUNK = 256

# The code that unfinished folds depend on.
CODE = (*cross_validation.CODE, Path(fine_tuning.__file__), Path(networks.__file__), Path(__file__))


def describe(
    name: str,
    inputs: str,
    *,
    fine_tuned: bool,
    image_size: int | None,
    hidden_units: int,
    dropout: float,
    l2: float,
    folds: int,
    views: int,
) -> networks.Description:
    """The description of the model `name`, from what the stages before left in data/.

    Args:
        inputs: what it reads, in data/: features/BACKBONE.npy, or prepared/images.npy for the baseline CNN.
        fine_tuned: whether its backbone is trained on.
        image_size: of the baseline CNN.
        views: of a network that reads images; frozen features are those of the plain images.
    """
    prepared = files.read_json(paths.PREPARED_SETTINGS)
    head = {"name": name, "hidden_units": hidden_units, "dropout": dropout, "l2": l2, "folds": folds}
    if inputs.startswith("prepared/"):
        none = dict.fromkeys(("backbone", "architecture", "cut_at", "pooling"))
        sizes = {"prepared_size": prepared["size"], "crop": prepared["size"], "image_size": image_size}
        how = {"training": networks.FROM_SCRATCH, "initialisation": "random", "fit": prepared["fit"], "views": views}
        return networks.Description(**none, **sizes, **how, **head)
    record = files.read_json(paths.backbone_record(Path(inputs).stem))
    how = networks.FINE_TUNED if fine_tuned else networks.FROZEN
    return networks.from_backbone(record, prepared, training=how, views=views if fine_tuned else 1, **head)


def read_images(description: networks.Description) -> np.ndarray:
    """All prepared images as the network reads them, uint8 [N, S, S, 3]."""
    count = len(files.read_array(paths.PREPARED_IMAGES, memory_map=True))
    size = description.image_size
    result = np.empty((count, size, size, 3), "uint8")
    with Progress(f"{description.name}: scale", count) as progress:
        for start in range(0, count, CHUNK):
            part = files.read_rows(paths.PREPARED_IMAGES, start, start + CHUNK)
            result[start : start + CHUNK] = images.network_inputs(part, description.crop, size)
            progress.advance(len(part))
    return result


def train(
    description: networks.Description,
    data: cross_validation.Data,
    plan: balancing.Plan,
    first: cross_validation.Settings,
    second: fine_tuning.Settings,
    *,
    augmentation: str,
    seed: int,
    inputs_file: Path,
) -> cross_validation.Result:
    """Train the model on all folds; finished work of an interrupted run is used again.

    Args:
        first: of the head, or of the baseline CNN.
        second: of the fine-tuning, if the description says that there is one.
        augmentation: of the baseline CNN's training images.
        inputs_file: what `data.inputs` was read from.
    """
    fine_tuned = description.training == networks.FINE_TUNED
    inputs = [inputs_file, paths.FOLDS]
    tuner = None
    if fine_tuned:
        inputs += [paths.PREPARED_IMAGES, paths.backbone_weights(description.backbone)]
        tuner = fine_tuning.FineTuner(description, second, read_images(description), data, plan, seed=seed)
    settings = {"description": description, "second": second if fine_tuned else None}
    return cross_validation.cross_validate(
        cross_validation.builder(first, augmentation),
        data,
        first,
        plan,
        seed=seed,
        name=description.name,
        views=description.views,
        second_phase=tuner,
        weights_folder=networks.folder(description.name),
        partial=partial(description.name),
        key=files.fingerprint(*inputs, *CODE)
        | {name: value and asdict(value) for name, value in settings.items()}
        | {"augmentation": augmentation},
    )


def partial(name: str) -> Path:
    """Where the unfinished work of the model `name` is."""
    return paths.PARTIAL / "train" / name


def last_phase(history: pd.DataFrame) -> pd.DataFrame:
    """The rows of `history` of the phase whose weights are kept."""
    return history[history["phase"] == history["phase"].max()]
