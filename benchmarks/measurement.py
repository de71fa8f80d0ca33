"""What the benchmarks share: timing against a reference, data of the right size, and how results are written."""

import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from skinlesions.core import paths
from skinlesions.data.sources import sample
from skinlesions.data.sources.ham10000 import find, list_images, read_images, read_metadata

HAM10000_VARIABLE = "HAM10000_DIR"

# Images and lesions of HAM10000, by class.
LESIONS = {"akiec": 228, "bcc": 327, "bkl": 727, "df": 73, "mel": 614, "nv": 5403, "vasc": 98}
IMAGES = 10_015

ROUNDS = 3


def measure(name: str, quick: bool) -> dict[str, pd.DataFrame]:
    """The tables of the benchmark `name` by their titles; every cell is text."""
    return importlib.import_module(f"benchmarks.{name}").measure(quick)


def seconds(action: Callable[[], object]) -> float:
    """How long one call of `action` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def best_seconds(actions: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """The shortest time of each of `actions`.

    They take turns, so that whatever else the machine does meets all of them; the shortest time is the one that it
    disturbed least.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            times[name].append(seconds(action))
    return {name: min(values) for name, values in times.items()}


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def verdict(value: float, target: float, *, at_least: bool) -> str:
    """`target` with its sense, and whether `value` meets it."""
    met = value >= target if at_least else value <= target
    return f"{'≥' if at_least else '≤'} {target:g}: {'met' if met else '**missed**'}"


def ham10000_folder() -> Path | None:
    """The folder of the real images that the environment names, as an absolute path; None where it names none."""
    folder = os.environ.get(HAM10000_VARIABLE)
    return (paths.ROOT / Path(folder).expanduser()).resolve() if folder else None


def write_images(target: Path, count: int) -> tuple[list[Path], str]:
    """Write `count` JPEG files to `target`/CLASS/IMAGE_ID.jpg: of HAM10000 if it is here, of the sample otherwise.

    Returns:
        The files, and what they are, for the table.
    """
    folder = ham10000_folder()
    if folder is None:
        metadata = sample.metadata(max(count, 100), seed=2018)
        contents = sample.images(metadata, seed=2018)
        kind = "images of the synthetic sample, 320 × 240"
    else:
        layout = find(folder)
        metadata = read_metadata(layout.metadata)
        contents = ((image.image_id, content) for image, content in read_images(list_images(layout)))
        kind = "images of HAM10000"
    diagnosis = metadata.set_index("image_id")["dx"]
    written = []
    for (image_id, content), _ in zip(contents, range(count), strict=False):
        path = target / diagnosis[image_id] / f"{image_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written.append(path)
    return written, f"{len(written):,} {kind}"


def index(images: int = IMAGES, seed: int = 0) -> pd.DataFrame:
    """image_id, lesion_id and dx of as many images and lesions per class as HAM10000 has, or the same at a scale.

    Which lesions have several images is drawn at random.
    """
    generator = np.random.default_rng(seed)
    sizes = {name: max(10, round(count * images / IMAGES)) for name, count in LESIONS.items()}
    dx = np.repeat(list(sizes), list(sizes.values()))
    lesion = np.arange(len(dx))
    lesion = np.sort(np.concatenate([lesion, generator.choice(lesion, max(0, images - len(lesion)))]))
    return pd.DataFrame(
        {
            "image_id": [f"ISIC_{number:07d}" for number in range(len(lesion))],
            "lesion_id": [f"HAM_{number:07d}" for number in lesion],
            "dx": dx[lesion],
        }
    )


def markdown(table: pd.DataFrame) -> str:
    """`table`, all of it text, as a Markdown table; columns after the first are set right."""
    lines = [table.columns, [":--"] + ["--:"] * (len(table.columns) - 1), *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
