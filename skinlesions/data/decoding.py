"""From the bytes of an image file to RGB pixels, the same way for training, the external set and prediction."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Only these decoders meet foreign bytes.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")

# No dermatoscope gives more; a file that claims more would fill the memory when decoded.
MAXIMUM_PIXELS = 50_000_000


def decode(content: bytes, formats: tuple[str, ...] = FORMATS, modes: Sequence[str] | None = None) -> Image.Image:
    """The image in `content`, in RGB with 8 bits, the right way up: of an animation, the first frame.

    Cameras note how they were held and leave the pixels lying on their side (the EXIF standard, tag 0x0112). A lesion
    has no upper side; the note is obeyed so that a photograph gives the same pixels before and after a program that
    turns them itself. Where an image is transparent it becomes black, as the corners of a dermatoscope's images are.
    Of 16 bits of grey, the upper 8 are kept.

    Args:
        formats: Pillow's names of the formats that are let through.
        modes: Pillow's names of the colour modes that are let through; None: all.

    Raises:
        ValueError: says what is wrong with the image, as the end of a sentence that begins with its name.
    """
    try:
        with Image.open(io.BytesIO(content), formats=formats) as image:
            width, height = image.size
            if width * height > MAXIMUM_PIXELS:
                fault = f"claims {width} x {height} pixels, more than {MAXIMUM_PIXELS:,}"
            elif modes is not None and image.mode not in modes:
                fault = f"is in {image.mode} colours, not {' or '.join(modes)}"
            elif image.mode in ("I", "F"):
                fault = "has 32 bits per pixel, whose range is not known; save it with 8"
            else:
                image.load()
                return _rgb(_upright(image))
    except UnidentifiedImageError:
        fault = f"is not an image in a known format ({', '.join(formats)}): it begins with {content[:12]!r}"
    except Image.DecompressionBombError:
        fault = f"claims more than {MAXIMUM_PIXELS:,} pixels"
    except Exception as error:  # nobody knows all that foreign bytes make a decoder raise
        fault = f"does not decode ({error})"
    raise ValueError(fault)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a note that cannot be read is no reason to give up the image
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "black")
        opaque.alpha_composite(image.convert("RGBA"))
        image = opaque
    return image.convert("RGB")
