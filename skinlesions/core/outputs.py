"""The file that a command writes for its user: never one of its inputs, and never a thing that is no file.

A regular file is replaced whole or not at all; links are followed; a pipe, a device or `-` (standard output) is written
into.
"""

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from skinlesions.core import paths
from skinlesions.core.errors import UserError

STANDARD_OUTPUT = Path("-")


def check(path: Path, inputs: Iterable[Path] = (), option: str = "--out") -> None:
    """Refuse, before any work, an output that could not be written in the end, or that would destroy an input.

    Args:
        path: the file; its folder is made if it is not there.
        inputs: files and folders that the command reads.
        option: what to call the output in messages.

    Raises:
        UserError: it is a folder or one of `inputs`, its links go in a circle, or its folder cannot be made or
            written to.
    """
    if path == STANDARD_OUTPUT:
        return
    target = _target(path, option)
    shown = paths.relative(target)
    for own in inputs:
        if _is_same(target, own):
            raise UserError(f"{option}: {shown} is what is read here; name another file")
    if _is_stream(target):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        folder = paths.relative(target.parent)
        raise UserError(f"{option}: the folder {folder} cannot be made ({error.strerror})") from None
    if target.is_dir() or not os.access(target.parent, os.W_OK):
        raise UserError(f"{option}: {shown} cannot be written; name a file in a folder that is yours")


@contextmanager
def writing(path: Path, option: str = "--out") -> Iterator[TextIO]:
    """A stream of UTF-8 text that becomes `path`; on failure a regular file stays as it was.

    Raises:
        UserError: it cannot be written, such as on a full disk.
    """
    if path == STANDARD_OUTPUT:
        yield sys.stdout
        return
    target = _target(path, option)
    # Two runs with one output do not meet in the temporary file.
    temporary = None if _is_stream(target) else target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with _opened(temporary or target) as stream:
            yield stream
        if temporary is not None:
            os.replace(temporary, target)
    except BrokenPipeError:  # the reader has enough, which is no fault
        raise
    except OSError as error:
        if error.filename not in (None, str(target), str(temporary)):
            raise  # of another file, which the work inside has to do with
        reason = error.strerror or error
        raise UserError(f"{option}: {paths.relative(target)} cannot be written ({reason})") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, option: str = "--out") -> None:
    """Write `text` to `path`, as `writing` does."""
    with writing(path, option) as stream:
        stream.write(text)


def _opened(path: Path) -> TextIO:
    return io.TextIOWrapper(path.open("wb"), encoding="utf-8", newline="")


def _target(path: Path, option: str) -> Path:
    """What `path` leads to; a pipe or device is left as it is named, since /dev/stdout leads to no path."""
    path = path.expanduser()
    try:
        return path if _is_stream(path) else path.resolve()
    except (OSError, RuntimeError):  # Python 3.11 and 3.12 raise RuntimeError for a loop
        raise UserError(f"{option}: the links of {path} lead in a circle; name another file") from None


def _is_stream(path: Path) -> bool:
    """Whether `path` is there and neither a file nor a folder: a pipe, a device, a socket."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _is_same(target: Path, own: Path) -> bool:
    try:
        return target.samefile(own)
    except (OSError, RuntimeError):  # one of the two is not there
        return False
