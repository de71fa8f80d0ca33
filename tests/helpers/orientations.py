"""Images with a camera's note of how it was held, and what the note means, by NumPy alone."""

import io
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

# How the pixels as stored become upright (the EXIF standard, tag 0x0112).
ORIENTATIONS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}


def noted(orientation: int) -> Image.Exif:
    """The note of an orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file of `image` in the format `kind`."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
