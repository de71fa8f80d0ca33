"""From image files to one uint8 array.

The array is written to disk in order, chunk by chunk, so that memory stays flat however many images there are.
Pillow decodes and resizes outside Python's global lock: threads use every core.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from skinlesions import files
from skinlesions.errors import UserError
from skinlesions.progress import Progress

CHUNK = 256


def fit(image: Image.Image, size: int, how: str) -> Image.Image:
    """`image` as a square RGB image of `size` pixels.

    Args:
        how: `crop` scales the short side to `size` and keeps the centre; `pad` scales the long side to `size` and
            adds black borders; `stretch` gives up the aspect ratio, as the published work did.

    Raises:
        ValueError: `how` is none of these.
    """
    image = image.convert("RGB")
    width, height = image.size
    if how == "stretch":
        box = (0.0, 0.0, width, height)
    elif how == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    elif how == "pad":
        scale = size / max(width, height)
        inner = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC)
        canvas = Image.new("RGB", (size, size))
        canvas.paste(inner, ((size - inner.width) // 2, (size - inner.height) // 2))
        return canvas
    else:
        raise ValueError(f"unknown fit {how!r}; known: crop, pad, stretch")
    if box[2] - box[0] == box[3] - box[1] == size and all(edge.is_integer() for edge in map(float, box)):
        return image.crop(tuple(int(edge) for edge in box))  # scale 1: resampling would return the same pixels
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box)


def read(path: Path, size: int, how: str) -> np.ndarray:
    """The image file `path`, uint8 [size, size, 3].

    Raises:
        UserError: the file is absent or does not decode.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(fit(image, size, how))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path.name} cannot be read as an image ({error}); fetch it again and rerun") from None


def prepare(sources: Sequence[Path], target: Path, size: int, how: str, workers: int | None = None) -> None:
    """Write all images to `target`, a .npy file of uint8 [N, size, size, 3], row i from sources[i].

    Args:
        workers: threads; one more than there are cores if None, so that no core waits while a chunk is written.

    Raises:
        UserError: a file is absent or does not decode.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(sources), size, size, 3)}
    with (
        files.replacing(target) as temporary,
        temporary.open("wb") as stream,
        ThreadPoolExecutor(workers or (os.cpu_count() or 1) + 1) as pool,
        Progress("prepare", len(sources), "images") as progress,
    ):
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, len(sources), CHUNK):
            for image in pool.map(lambda path: read(path, size, how), sources[start : start + CHUNK]):
                stream.write(image.tobytes())
                progress.advance()


def scaled_down(source: Path, size: int) -> np.ndarray:
    """The images of `source` averaged down to uint8 [N, size, size, 3].

    Args:
        source: a .npy file of uint8 [N, H, H, 3]; read chunk by chunk.
    """
    count = len(files.read_array(source, memory_map=True))
    small = np.empty((count, size, size, 3), "uint8")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, count, CHUNK):
            chunk = files.read_rows(source, start, start + CHUNK)
            resized = pool.map(lambda image: Image.fromarray(image).resize((size, size), Image.Resampling.BOX), chunk)
            small[start : start + CHUNK] = [np.asarray(image) for image in resized]
    return small


def centre_crop(images: np.ndarray, size: int) -> np.ndarray:
    """The central [size, size] part of uint8 [N, H, W, 3], a view.

    Raises:
        ValueError: `size` is more than the images have.
    """
    height, width = images.shape[1:3]
    if size > min(height, width):
        raise ValueError(f"cannot crop {size} pixels from images of {height} x {width}")
    top, left = (height - size) // 2, (width - size) // 2
    return images[:, top : top + size, left : left + size]
