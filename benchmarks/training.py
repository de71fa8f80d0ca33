"""Fine-tuning: epochs of the pipeline against the same step on one batch in memory, and the original's loader."""

import resource
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from benchmarks.measurement import IMAGES, best_seconds, cores, verdict, write_images
from skinlesions.core import config, paths
from skinlesions.data import balancing
from skinlesions.models import networks
from skinlesions.training import cross_validation, fine_tuning

# The networks, each from its params.yaml backbone, and how many steps are timed. The first is the one that the
# published run fine-tunes, and the one on which the variants are tried; on a GPU add others.
BACKBONES = ("mobilenet_v2_160", "efficientnet_b0", "resnet50")
STEPS = 4
TARGET = 0.9

# What may be switched, and must pay: XLA, and half precision.
PLAIN = {"float32": {}}
VARIANTS = PLAIN | {"float32, XLA": {"xla": True}, "bfloat16": {"precision": "mixed_bfloat16"}}

# The augmentation of the published work, as its loader made it.
ORIGINAL = {
    "rotation_range": 180,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "shear_range": 0.1,
    "zoom_range": 0.1,
    "horizontal_flip": True,
    "vertical_flip": True,
    "fill_mode": "nearest",
}


def description(name: str, settings: config.Params, image_size: int) -> networks.Description:
    """A model on the backbone `name`, fine-tuned, at `image_size`."""
    backbone = settings.backbones[name]
    return networks.Description(
        name=name,
        training=networks.FINE_TUNED,
        initialisation="random",
        backbone=name,
        architecture=backbone.architecture,
        cut_at=backbone.cut_at,
        pooling=backbone.pooling,
        fit="crop",
        prepared_size=image_size,
        crop=image_size,
        image_size=image_size,
        hidden_units=256,
        dropout=0.5,
        l2=0.1,
        folds=3,
        views=1,
    )


def tuner(
    name: str, settings: config.Params, image_size: int, images: np.ndarray, **changed: object
) -> fine_tuning.FineTuner:
    """The published fine-tuning of the whole backbone, on `images`, with `changed` settings."""
    own = {"from_layer": fine_tuning.ALL, "learning_rate": 1e-4, "patience": 1, "max_hours": 1e9, "views": 1}
    chosen = config.FineTune(**(settings.fine_tune.model_dump() | own | changed))
    number = np.arange(len(images))
    data = cross_validation.Data(images, number % 7, number // 7 % 3)
    described = description(name, settings, image_size)
    plan = balancing.Plan("balanced_weights", 0.5, 0.99, 2.0, 1.0)
    return fine_tuning.FineTuner(described, chosen, images, data, plan, seed=0)


def rates(
    name: str, settings: config.Params, image_size: int, steps: int, folder: Path, **changed: object
) -> dict[str, float]:
    """Images per second of an epoch of ours, of a step on one batch, and of an epoch through the original's loader.

    Args:
        folder: with a folder of images for each class.
        changed: settings of the fine-tuning that differ from the published ones.
    """
    batch_size = settings.fine_tune.batch_size
    images = np.random.default_rng(0).integers(0, 256, (3 * 7 * batch_size, image_size, image_size, 3), "uint8")
    second_phase = tuner(name, settings, image_size, images, **changed)
    rows = np.resize(np.arange(len(images)), steps * batch_size)
    batches = second_phase._batches(0, rows)
    pixels, targets, weights = batches[0]

    def on_one_batch() -> None:
        for _ in range(steps):
            second_phase.trained.train_on_batch(pixels, targets, sample_weight=weights)

    plain = keras.Model(second_phase.network.inputs, second_phase.network.output)
    plain.compile(optimizer="adam", loss=keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    loader = ImageDataGenerator(**ORIGINAL).flow_from_directory(
        folder, target_size=(image_size, image_size), batch_size=batch_size, seed=0
    )
    ways = {
        "ours": lambda: second_phase._fit(batches),
        "one batch": on_one_batch,
        "original": lambda: plain.fit(loader, steps_per_epoch=steps, verbose=0),
    }
    for way in ways.values():
        way()  # compiled before the clock starts
    return {way: steps * batch_size / time for way, time in best_seconds(ways).items()}


def measure(quick: bool) -> dict[str, pd.DataFrame]:
    """The rates of the networks, and what the variants of precision and compiler change."""
    settings = config.load()
    fine_tune = settings.fine_tune
    steps = 1 if quick else STEPS
    rows = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        root = Path(scratch)
        write_images(root / "images", 7 * 2 * fine_tune.batch_size)
        for number in range(7 - len(list((root / "images").iterdir()))):
            (root / "images" / f"none_{number}").mkdir()  # the first images may lack a class: the loader counts folders
        paths.WEIGHTS = root  # of the untrained networks here: speed does not depend on what the weights are
        for name in BACKBONES[: 1 if quick else None]:
            size = 64 if quick else settings.backbones[name].image_size
            described = description(name, settings, size)
            networks.trunk(described).save_weights(paths.backbone_weights(name))
            for variant, changed in (VARIANTS if name == BACKBONES[0] else PLAIN).items():
                rate = rates(name, settings, size, steps, root / "images", **changed)
                ratio = rate["ours"] / rate["one batch"]
                hours = IMAGES * (settings.split.folds - 2) * fine_tune.epochs / rate["ours"] / 3600
                rows.append(
                    (
                        f"{described.architecture}{f' to {described.cut_at}' if described.cut_at else ''}, {size} px",
                        variant,
                        f"{rate['ours']:.0f}",
                        f"{rate['one batch']:.0f}",
                        f"{ratio:.2f}",
                        verdict(ratio, TARGET, at_least=True),
                        f"{rate['original']:.0f}",
                        f"{hours:.1f}",
                        f"{_gigabytes():.1f}",
                    )
                )
    columns = [
        *("network", "variant", "ours, images per second", "the step on one batch", "ratio", "target"),
        *("the original's loader", f"hours for {fine_tune.epochs} epochs of all folds", "memory so far, GB"),
    ]
    title = f"Batches of {fine_tune.batch_size}, all layers trained, on {fine_tuning.device()} ({cores()} cores)"
    return {title: pd.DataFrame(rows, columns=columns)}


def _gigabytes() -> float:
    """The most memory that this process has had resident."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
