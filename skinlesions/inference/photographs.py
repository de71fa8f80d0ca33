"""Photographs from anywhere: files, folders and zip files, found with care, since nobody vouches for them.

An image that is too large, damaged, encrypted or has an unsafe name in a zip file is said to be so in one sentence; the
others are taken all the same.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from skinlesions.core import paths
from skinlesions.data.sources import archives
from skinlesions.data.sources.archives import ImageFile
from skinlesions.data.sources.checks import raise_faults

# Names that are looked at in folders and zip files; a file that is named on the command line may be called anything.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# What is an image as well, or holds some, and is not read: it is said to be so, never left out without a word.
UNREAD = {
    **dict.fromkeys((".heic", ".heif", ".avif"), "is HEIC or AVIF"),
    **dict.fromkeys((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"), "is the raw data of a camera"),
    **dict.fromkeys((".jp2", ".jxl", ".psd", ".svg"), "is in a format that is not read"),
    **dict.fromkeys((".dcm",), "is DICOM"),
}
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def find(inputs: Sequence[Path]) -> tuple[list[ImageFile], list[str]]:
    """The images that `inputs` name, in order, and one sentence for everything that cannot be one of them.

    A folder or a zip file stands for all images in it, at any depth, sorted by their paths; hidden files and folders
    are left out, and links to folders are not followed.

    Raises:
        UserError: an input does not exist, or two images have the same name.
    """
    absent = [path for path in inputs if not path.exists()]
    addresses = [path for path in absent if re.match(r"https?:/", str(path))]
    raise_faults("inputs", [f"{path} is an address; download it, and name the file" for path in addresses])
    raise_faults("inputs", [f"{paths.relative(path)} does not exist; correct the path" for path in absent])
    images: list[ImageFile] = []
    faults: list[str] = []
    found: list[ImageFile]
    wrong: list[str]
    for path in inputs:
        if path.is_dir():
            inside, wrong = _in_folder(path)
            found = [ImageFile(file.stem, file, None) for file in inside]
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


def _in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    """The image files in `folder`, at any depth, sorted by path; and what else seems to be meant, and is not read."""
    found, faults = [], []
    for directory, subdirectories, names in os.walk(folder):
        subdirectories[:] = sorted(name for name in subdirectories if not _hidden(name))
        for path in (Path(directory, name) for name in subdirectories):
            if path.is_symlink():
                faults.append(f"{_shown(path)} is a link to a folder, which is not followed; name that folder itself")
        for path in (Path(directory, name) for name in sorted(names)):
            reason = _unread(path.name)
            if _is_image(path.name) and path.is_file():
                found.append(path)
            elif _is_image(path.name):
                faults.append(f"{_shown(path)} is not a file: a link that leads nowhere, a pipe or a device")
            elif reason:
                faults.append(f"{_shown(path)} {reason}")
    return sorted(found), faults


def _in_archive(path: Path) -> tuple[list[ImageFile], list[str]]:
    """The images in the zip file `path`, sorted by path, and what is wrong with it or with its members."""

    def wanted(name: str) -> bool:
        steps = name.split("/")
        return not any(map(_hidden, steps)) and (_is_image(steps[-1]) or _unread(steps[-1]) is not None)

    members, faults = archives.members(path, wanted)
    names = sorted((name for name in members if _is_image(name.rpartition("/")[2])), key=lambda name: name.split("/"))
    images = [ImageFile(Path(name).stem, path, name) for name in names]
    unread = [f"member {name!r} {_unread(name.rpartition('/')[2])}" for name in members if name not in set(names)]
    return images, [f"{paths.relative(path)}, {fault}" for fault in [*faults, *unread]]


def _unread(name: str) -> str | None:
    """Why a file of this name, which may be or hold an image, is not read; None: it seems to be none."""
    suffix = Path(name).suffix.lower()
    if _hidden(name):
        return None
    if suffix in UNREAD:
        return f"{UNREAD[suffix]}; save it as JPEG or PNG"
    return "is an archive within; name it by itself, or unpack it" if suffix in ARCHIVES else None


def _shown(path: Path) -> str:
    """`path` as it lies there, without following it: the links in question lead nowhere."""
    shown = paths.relative(path.parent / "x")[:-1] + path.name
    return shown if shown.isprintable() else repr(shown)


def _hidden(name: str) -> bool:
    """Whether a file or folder is one that systems put beside the user's own."""
    return name.startswith((".", "__MACOSX"))


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not _hidden(name)
