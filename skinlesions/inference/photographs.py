"""Photographs from anywhere: files, folders and zip files, read with care, since nobody vouches for them.

Nothing is unpacked to disk. An image that is too large, damaged, encrypted or has an unsafe name in a zip file is said
to be so in one sentence; the others are read all the same.
"""

import io
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from skinlesions.core import paths
from skinlesions.data.sources.checks import MAXIMUM_IMAGE_BYTES, MAXIMUM_PIXELS, raise_faults
from skinlesions.data.sources.ham10000 import ImageFile, unreadable_member, unsafe_member

# Only these decoders meet foreign bytes. The names are looked at in folders and zip files alone: a file that is named
# on the command line may be called anything.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

# How to put upright what a camera held on its side has written (the EXIF standard, tag 0x0112).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def find(inputs: Sequence[Path]) -> tuple[list[ImageFile], list[str]]:
    """The images that `inputs` name, in order, and one sentence for everything that cannot be one of them.

    A folder or a zip file stands for all images in it, at any depth, sorted by their paths; hidden files and folders
    are left out, and links to folders are not followed.

    Raises:
        UserError: an input does not exist, or two images have the same name.
    """
    absent = [path for path in inputs if not path.exists()]
    raise_faults("inputs", [f"{paths.relative(path)} does not exist; correct the path" for path in absent])
    images: list[ImageFile] = []
    faults: list[str] = []
    for path in inputs:
        if path.is_dir():
            found, wrong = [ImageFile(file.stem, file, None) for file in _in_folder(path)], []
        elif path.suffix.lower() == ".zip":
            found, wrong = _in_archive(path)
        else:
            found, wrong = [ImageFile(path.stem, path, None)], []
        if not found and not wrong:
            wrong = [f"{paths.relative(path)}: no image in it; images end in {', '.join(SUFFIXES)}"]
        for image in found:
            if image.image_id.isprintable():
                images.append(image)
            else:
                wrong.append(f"{image.name!r}: its name has characters that cannot be written; rename it")
        faults += wrong
    _check_unique(images)
    return images, faults


def _check_unique(images: Iterable[ImageFile]) -> None:
    """Refuse two images of one name: nobody could tell their predictions apart."""
    first: dict[str, ImageFile] = {}
    repeated = [
        f"{image.name}: image {image.image_id!r} is also {first[image.image_id].name}; rename one, or leave it out"
        for image in images
        if first.setdefault(image.image_id, image) is not image
    ]
    raise_faults("images", repeated)


def _in_folder(folder: Path) -> list[Path]:
    """The image files in `folder`, at any depth, sorted by path."""
    found = []
    for directory, subdirectories, names in os.walk(folder):
        subdirectories[:] = [name for name in subdirectories if not _hidden(name)]
        found += [Path(directory, name) for name in names if _is_image(name)]
    return sorted(path for path in found if path.is_file())


def _in_archive(path: Path) -> tuple[list[ImageFile], list[str]]:
    """The images in the zip file `path`, sorted by path, and what is wrong with it or with its members."""
    name = paths.relative(path)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except Exception as error:  # nobody knows all that foreign bytes make zipfile raise
        return [], [f"{name}: not a whole zip file ({error})"]
    images, faults = [], []
    for info in infos:
        steps = info.filename.split("/")
        fault = unsafe_member(info)
        if fault is None and (info.is_dir() or any(map(_hidden, steps)) or not _is_image(steps[-1])):
            continue
        fault = fault or unreadable_member(info)
        if fault is not None:
            faults.append(f"{name}, member {info.orig_filename!r}: {fault}")
        else:
            images.append(ImageFile(Path(steps[-1]).stem, path, info.filename))
    return sorted(images, key=lambda image: image.member.split("/")), faults


def _hidden(name: str) -> bool:
    """Whether a file or folder is one that systems put beside the user's own."""
    return name.startswith((".", "__MACOSX"))


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not _hidden(name)


def contents(images: Iterable[ImageFile]) -> Iterator[tuple[ImageFile, bytes | ValueError]]:
    """Every image with its bytes, or with what keeps them from being read, as the end of a sentence.

    Read one at a time when asked for; a zip file is opened once for all of its images that follow each other.
    """
    archive: zipfile.ZipFile | None = None
    try:
        for image in images:
            try:
                if image.member is None:
                    content = _file_content(image.path)
                else:
                    if archive is None or archive.filename != str(image.path):
                        if archive is not None:
                            archive.close()
                        archive = zipfile.ZipFile(image.path)
                    # zipfile never gives more than the size in the directory, which _in_archive has looked at.
                    content = archive.read(image.member)
            except Exception as error:  # as above
                content = ValueError(f"cannot be read ({error})")
            yield image, content
    finally:
        if archive is not None:
            archive.close()


def _file_content(path: Path) -> bytes | ValueError:
    """The bytes of a file that is one, and not too large."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return ValueError("is not a file")  # a pipe or a device may never end
    if status.st_size > MAXIMUM_IMAGE_BYTES:
        return ValueError(f"has {status.st_size:,} bytes; an image has at most {MAXIMUM_IMAGE_BYTES:,}")
    return path.read_bytes()


def decode(content: bytes) -> Image.Image:
    """The image in `content`, in RGB with 8 bits, the right way up: of an animation, the first frame.

    Cameras note how they were held and leave the pixels lying on their side. HAM10000 has no such notes, and a lesion
    has no upper side; the note is obeyed so that a photograph gets the same prediction before and after a program
    that turns the pixels themselves. Where an image is transparent it becomes black, as the corners of a dermatoscope's
    images are. Of 16 bits of grey, the upper 8 are kept.

    Raises:
        ValueError: says what is wrong with the image, as the end of a sentence that begins with its name.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAXIMUM_PIXELS:
                fault = f"claims {width} x {height} pixels, more than {MAXIMUM_PIXELS:,}"
            elif image.mode in ("I", "F"):
                fault = "has 32 bits per pixel, whose range is not known; save it with 8"
            else:
                image.load()
                upright = UPRIGHT.get(_orientation(image))
                colours = _rgb(image)
                return colours if upright is None else colours.transpose(upright)
    except Image.UnidentifiedImageError:
        fault = f"is not an image in a known format ({', '.join(FORMATS)})"
    except Image.DecompressionBombError:
        fault = f"claims more than {MAXIMUM_PIXELS:,} pixels"
    except Exception as error:  # nobody knows all that foreign bytes make a decoder raise
        fault = f"does not decode ({error})"
    raise ValueError(fault)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of a loaded image, 1 if it has none that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a note that cannot be read is no reason to give up the image
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    """A copy of a loaded image in RGB with 8 bits."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "black")
        opaque.alpha_composite(image.convert("RGBA"))
        image = opaque
    return image.convert("RGB")
