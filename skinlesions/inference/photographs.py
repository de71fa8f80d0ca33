"""Photographs from anywhere: files, folders and zip files, found with care, since nobody vouches for them.

An image that is too large, damaged, encrypted or has an unsafe name in a zip file is said to be so in one sentence; the
others are taken all the same.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from skinlesions.core import paths
from skinlesions.data.sources import archives
from skinlesions.data.sources.archives import ImageFile
from skinlesions.data.sources.checks import raise_faults

# Names that are looked at in folders and zip files; a file that is named on the command line may be called anything.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


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
    found: list[ImageFile]
    wrong: list[str]
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

    def wanted(name: str) -> bool:
        steps = name.split("/")
        return not any(map(_hidden, steps)) and _is_image(steps[-1])

    names, faults = archives.members(path, wanted)
    images = [ImageFile(Path(name).stem, path, name) for name in sorted(names, key=lambda name: name.split("/"))]
    return images, [f"{paths.relative(path)}, {fault}" for fault in faults]


def _hidden(name: str) -> bool:
    """Whether a file or folder is one that systems put beside the user's own."""
    return name.startswith((".", "__MACOSX"))


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not _hidden(name)
