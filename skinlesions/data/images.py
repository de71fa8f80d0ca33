"""From image files to one uint8 array, and from its rows to what a network takes.

The array is written to disk in order, image by image, so that memory stays flat however many images there are.
Pillow decodes and resizes outside Python's global lock: threads use every core.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from skinlesions.core import files, paths
from skinlesions.core.errors import UserError
from skinlesions.core.parallel import in_order
from skinlesions.core.progress import Progress
from skinlesions.data.decoding import decode

# Images that a thread scales at a time.
BLOCK = 16


def fit(image: Image.Image, size: int, how: str) -> Image.Image:
    """`image` as a square image of `size` pixels.

    Args:
        image: in RGB.
        how: `crop` scales the short side to `size` and keeps the centre; `pad` scales the long side to `size` and
            adds black borders; `stretch` gives up the aspect ratio, as the published work did.

    Raises:
        ValueError: `how` is none of these.
    """
    width, height = image.size
    if how == "stretch":
        box: tuple[float, float, float, float] = (0, 0, width, height)
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
        return image.crop(box)  # scale 1: resampling would return the same pixels
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box)


def read(path: Path, size: int, how: str) -> np.ndarray:
    """The image file `path`, the right way up, uint8 [size, size, 3].

    Raises:
        UserError: the file is absent or does not decode.
    """
    try:
        return np.asarray(fit(decode(path.read_bytes()), size, how))
    except (OSError, ValueError) as error:
        raise UserError(f"{paths.relative(path)} cannot be read as an image: {error}; fetch it again, rerun") from None


def prepare(sources: Sequence[Path], target: Path, size: int, how: str) -> None:
    """Write all images to `target`, a .npy file of uint8 [N, size, size, 3], row i from sources[i].

    Raises:
        UserError: a file is absent or does not decode.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(sources), size, size, 3)}
    with (
        files.replacing(target) as temporary,
        temporary.open("wb") as stream,
        Progress("prepare", len(sources), "images") as progress,
    ):
        np.lib.format.write_array_header_1_0(stream, header)
        for image in in_order(lambda path: read(path, size, how), sources):
            stream.write(image.tobytes())
            progress.advance()


def scaled(images: np.ndarray, size: int, resampling: Image.Resampling) -> np.ndarray:
    """`images`, uint8 [N, H, H, 3], as uint8 [N, size, size, 3]."""
    result = np.empty((len(images), size, size, 3), "uint8")

    def fill(start: int) -> None:
        for row in range(start, min(start + BLOCK, len(images))):
            result[row] = Image.fromarray(images[row]).resize((size, size), resampling)

    deque(in_order(fill, range(0, len(images), BLOCK)), maxlen=0)
    return result


def scaled_down(source: Path, size: int) -> np.ndarray:
    """The images of `source` averaged down to uint8 [N, size, size, 3].

    Args:
        source: a .npy file of uint8 [N, H, H, 3]; read chunk by chunk.
    """
    return np.concatenate(
        [scaled(chunk, size, Image.Resampling.BOX) for chunk in files.read_chunks(source)]
        or [np.empty((0, size, size, 3), "uint8")]
    )


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


def network_inputs(pixels: np.ndarray, crop: int, image_size: int) -> np.ndarray:
    """What a network takes of prepared images: their central part, scaled.

    Args:
        pixels: uint8 [N, P, P, 3].
        crop: the side of the central part, in pixels.
        image_size: what that is scaled to, with smoothing if it is less; equal to `crop`: no pixel changes.

    Returns:
        uint8 [N, image_size, image_size, 3].

    Raises:
        ValueError: `crop` is more than the images have.
    """
    cropped = centre_crop(pixels, crop)
    return cropped if crop == image_size else scaled(cropped, image_size, Image.Resampling.BICUBIC)
