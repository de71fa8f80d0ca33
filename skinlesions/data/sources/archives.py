"""Images in files and in zip files, read with care: nothing is unpacked to disk, and nothing is trusted."""

import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from skinlesions.core import paths

# A file that unpacks to more would fill the memory.
MAXIMUM_IMAGE_BYTES = 50_000_000


@dataclass(frozen=True)
class ImageFile:
    """One image: a file (`member` is None), or the member of that name in the zip file `path`."""

    image_id: str
    path: Path
    member: str | None

    @property
    def name(self) -> str:
        """The image as written in messages."""
        where = paths.relative(self.path)
        return where if self.member is None else f"{where}, member {self.member}"


def members(path: Path, wanted: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """The files in the zip file `path` whose names are `wanted`, and what is wrong with it or with its members.

    Names and sizes are looked at; no content is read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except Exception as error:  # nobody knows all that foreign bytes make zipfile raise
        return [], [f"not a whole zip file ({error})"]
    names, faults = [], []
    for info in infos:
        fault = _unsafe(info)
        if fault is None and (info.is_dir() or not wanted(info.filename)):
            continue
        fault = fault or _unreadable(info)
        if fault is None:
            names.append(info.filename)
        else:
            faults.append(f"member {info.orig_filename!r} {fault}")
    return names, faults


def _unsafe(info: zipfile.ZipInfo) -> str | None:
    """What makes a member one to keep away from, as the end of a sentence; None: nothing does."""
    # zipfile cuts names at a NUL byte and turns the system's separator into a slash: judge the name as stored.
    name = info.orig_filename
    steps = name.replace("\\", "/").split("/")
    if "\0" in name or "\\" in name or ":" in name or steps[0] == "" or ".." in steps:
        return "has an unsafe path"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a symbolic link"
    return None


def _unreadable(info: zipfile.ZipInfo) -> str | None:
    """Why a member is not to be read, as the end of a sentence; None: it is."""
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.file_size > MAXIMUM_IMAGE_BYTES:
        return f"unpacks to {info.file_size:,} bytes; an image has at most {MAXIMUM_IMAGE_BYTES:,}"
    return None


def contents(images: Iterable[ImageFile]) -> Iterator[tuple[ImageFile, bytes | ValueError]]:
    """Every image with its bytes, or with what keeps them from being read, as the end of a sentence.

    Read one at a time when asked for; a zip file is opened once for all of its images that follow each other.
    """
    with ExitStack() as stack:
        archive: zipfile.ZipFile | None = None
        for image in images:
            content: bytes | ValueError
            try:
                if image.member is None:
                    content = _file_content(image.path)
                else:
                    if archive is None or archive.filename != str(image.path):
                        stack.close()
                        archive = stack.enter_context(zipfile.ZipFile(image.path))
                    # zipfile never gives more than the size in the directory, which `members` has looked at.
                    content = archive.read(image.member)
            except Exception as error:  # as above
                content = ValueError(f"cannot be read ({error})")
            yield image, content


def _file_content(path: Path) -> bytes | ValueError:
    """The bytes of a file that is one, and not too large."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return ValueError("is not a file")  # a pipe or a device may never end
    if status.st_size > MAXIMUM_IMAGE_BYTES:
        return ValueError(f"has {status.st_size:,} bytes; an image has at most {MAXIMUM_IMAGE_BYTES:,}")
    return path.read_bytes()
