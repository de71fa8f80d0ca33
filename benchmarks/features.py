"""Frozen features: the stage `features` against the bare network on images that are in memory already."""

import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from benchmarks.measurement import best_seconds, verdict
from skinlesions.core import config, files
from skinlesions.models import backbones, features

# Backbone: images to measure with. Random weights: speed does not depend on what the weights are.
COUNTS = {"mobilenet_v2": 512, "resnet50": 192, "efficientnet_b4": 160}
TARGET = 0.95


def bare_network(trunk: keras.Model) -> keras.Model:
    """The network of keras.applications with average pooling, for images preprocessed already."""
    return keras.Model(trunk.input, keras.layers.GlobalAveragePooling2D()(trunk.output))


def rates(backbone: config.Backbone, image_size: int, batch_size: int, margin: int, count: int) -> dict[str, float]:
    """Images per second of `features.extract` and of the bare network.

    Args:
        backbone: an architecture and where it is cut.
        image_size: what it gets.
        margin: by how many pixels the prepared images are larger than what the network takes.
    """
    name = backbone.architecture
    trunk = backbones.trunk(name, image_size, backbone.cut_at)
    extractor, bare = backbones.feature_extractor(name, name, trunk, backbone.pooling), bare_network(trunk)
    side = image_size + margin
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), "uint8")
    in_memory = pixels[:, :image_size, :image_size].astype("float32") / 127.5 - 1
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))

    def extract() -> None:
        features.extract(
            extractor,
            folder / "images.npy",
            folder / "features.npy",
            crop=image_size,
            batch_size=batch_size,
            partial=folder / "partial",
            key={},
        )

    try:
        files.write_array(folder / "images.npy", pixels)
        extractor.predict_on_batch(pixels[:batch_size, :image_size, :image_size])  # compiled before the clock starts
        bare.predict(in_memory[:batch_size], batch_size=batch_size, verbose=0)
        times = best_seconds(
            {"ours": extract, "bare": lambda: bare.predict(in_memory, batch_size=batch_size, verbose=0)}
        )
    finally:
        shutil.rmtree(folder)
    return {way: count / time for way, time in times.items()}


def measure(quick: bool) -> dict[str, pd.DataFrame]:
    """Both rates for three backbones at the published settings."""
    settings = config.load()
    batch_size = settings.features.batch_size
    rows = []
    for name, count in COUNTS.items():
        backbone = settings.backbones[name]
        size = 64 if quick else backbone.image_size
        margin = settings.prepare.size - backbone.image_size
        rate = rates(backbone, size, batch_size, margin, 2 * batch_size if quick else count)
        ratio = rate["ours"] / rate["bare"]
        rows.append(
            (
                f"{name}{f' to {backbone.cut_at}' if backbone.cut_at else ''}",
                f"{rate['ours']:.1f}",
                f"{rate['bare']:.1f}",
                f"{ratio:.2f}",
                verdict(ratio, TARGET, at_least=True),
            )
        )
    columns = ["backbone", "`features.extract`, images per second", "bare network", "ratio", "target"]
    return {f"{size} × {size} pixels, batches of {batch_size}": pd.DataFrame(rows, columns=columns)}
