"""One run at a time: a lock that says who holds it, and that no crash leaves behind."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from skinlesions.core.errors import UserError


@contextmanager
def alone(file: Path, what: str) -> Iterator[None]:
    """Hold the lock `file` for the length of the block; it is the operating system's, and ends with this process.

    Args:
        file: created if it is absent; it stays, and means nothing by itself.
        what: is done, for the message to another process.

    Raises:
        UserError: another process holds the lock; the message names it, and since when.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{what} is already going on: {_holder(file)}. Wait for its end, or end it") from None
        stream.truncate(0)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
        json.dump(holder, stream)
        stream.flush()
        yield


def _holder(file: Path) -> str:
    """The process that holds the lock `file`, in words."""
    try:
        holder = json.loads(file.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # in the moment before it is written
        return "another process, since this moment"
