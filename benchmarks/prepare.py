"""Decoding and resizing all images: the stage `prepare` against a bare Pillow loop and the original's loader."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.measurement import best_seconds, cores, verdict, write_images
from skinlesions.data import images

# That of the original; it takes more work than the published prepare.size on copies whose short side is that already.
SIZE = 224
BATCH = 32
TARGET = 0.8


def bare(path: Path) -> np.ndarray:
    """Pillow alone: decode, take the central square, resize; uint8 [SIZE, SIZE, 3]."""
    with Image.open(path) as image:
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box))


def loop(sources: list[Path]) -> None:
    """All images in one thread; nothing is kept."""
    for path in sources:
        bare(path)


def original(folder: Path, count: int) -> None:
    """Keras' ImageDataGenerator as the original fed its networks from, without its random augmentation."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # Keras 3 keeps it, but exports it no more

    batches = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        folder, target_size=(SIZE, SIZE), batch_size=BATCH, class_mode="categorical"
    )
    assert sum(len(pixels) for pixels, _ in (batches[number] for number in range(len(batches)))) == count


def measure(quick: bool) -> dict[str, pd.DataFrame]:
    """Images per second of each way; they take turns."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        sources, kind = write_images(folder / "images", 100 if quick else 3000)
        target = folder / "images.npy"
        times = best_seconds(
            {
                "ours": lambda: images.prepare(sources, target, SIZE, "crop"),
                "bare": lambda: loop(sources),
                "original": lambda: original(folder / "images", len(sources)),
            }
        )
    finally:
        shutil.rmtree(folder)
    rate = {name: len(sources) / time for name, time in times.items()}
    limit = cores() * rate["bare"]
    rows = [
        (
            f"`images.prepare`, {cores()} cores, written to disk",
            f"{rate['ours']:,.0f}",
            "1",
            "",
        ),
        (
            f"{cores()} × a bare Pillow loop in one thread",
            f"{limit:,.0f}",
            f"{rate['ours'] / limit:.2f}",
            verdict(rate["ours"] / limit, TARGET, at_least=True),
        ),
        (
            "`ImageDataGenerator.flow_from_directory`, the original's loader",
            f"{rate['original']:,.0f}",
            f"{rate['ours'] / rate['original']:.2f}",
            "",
        ),
    ]
    columns = ["way", "images per second", "ours ÷ this", "target"]
    return {f"{kind}, to {SIZE} × {SIZE}": pd.DataFrame(rows, columns=columns)}
