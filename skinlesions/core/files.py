"""Reading and writing the project's files, each written whole or not at all."""

import gzip
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinlesions.core import paths

FLOAT_FORMAT = "%.6g"

# Rows of an array that are read at a time: 256 images of 240 x 240 pixels are 44 MB.
CHUNK = 256


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, on failure it is removed.

    A kill at any moment leaves either the old file or the new one, never a part of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8 with `\\n` line ends, whole or not at all."""
    write_bytes(path, text.encode())


def csv_bytes(table: pd.DataFrame) -> bytes:
    """`table` in the project's one CSV form: UTF-8, `\\n`, no index column, floats as `%.6g`."""
    return table.to_csv(index=False, lineterminator="\n", float_format=FLOAT_FORMAT).encode()


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write `table` to `path` as CSV; a name that ends in `.gz` is compressed, with no time stamp inside."""
    content = csv_bytes(table)
    if path.suffix == ".gz":
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as stream:
            stream.write(content)
        content = buffer.getvalue()
    write_bytes(path, content)


def json_bytes(value: Any) -> bytes:
    """`value` as JSON with sorted keys, two-space indent and a trailing newline; NaN is refused."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as JSON."""
    write_bytes(path, json_bytes(value))


def read_json(path: Path) -> Any:
    """The value in the JSON file `path`."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_array(path: Path, array: np.ndarray) -> None:
    """Write `array` to `path` as .npy, without pickling."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def read_array(path: Path, *, memory_map: bool = False) -> np.ndarray:
    """The array in the .npy file `path`, read-only and paged in on demand if `memory_map`."""
    return np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)


def read_rows(path: Path, start: int, stop: int) -> np.ndarray:
    """Rows start to stop of the array in the .npy file `path`, copied.

    The file is mapped for the length of the call only: pages read do not add up in the memory of the process.
    """
    return np.array(read_array(path, memory_map=True)[start:stop])


def read_chunks(path: Path) -> Iterator[np.ndarray]:
    """The array in the .npy file `path`, up to CHUNK rows at a time, each piece copied as by read_rows."""
    for start in range(0, len(read_array(path, memory_map=True)), CHUNK):
        yield read_rows(path, start, start + CHUNK)


def image_file(folder: Path, image_id: str) -> Path:
    """The file of the image `image_id` in `folder`: JPEG, or PNG where there is no JPEG."""
    jpeg = folder / f"{image_id}.jpg"
    png = jpeg.with_suffix(".png")
    return png if png.exists() and not jpeg.exists() else jpeg


def sha256(content: Path | bytes) -> str:
    """The SHA-256 of a file or of bytes, in hexadecimal."""
    return _digest(content, "sha256")


def md5(content: Path | bytes) -> str:
    """The MD5 of a file or of bytes, in hexadecimal: what Harvard Dataverse names its files by."""
    return _digest(content, "md5")


def _digest(content: Path | bytes, algorithm: str) -> str:
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def fingerprint(*inputs: Path) -> dict[str, str]:
    """The path and SHA-256 of every file: what unfinished work depends on, to be kept beside it as its key.

    By path relative to the repository, since files in two folders may have one name.
    """
    return {paths.relative(path): sha256(path) for path in inputs}


def keep_only_matching(folder: Path, key: dict[str, Any]) -> None:
    """Empty `folder`, which holds unfinished work, unless that work was begun under `key`; note `key` in it."""
    key_file = folder / "key.json"
    if not (key_file.exists() and read_json(key_file) == key):
        shutil.rmtree(folder, ignore_errors=True)
        write_json(key_file, key)
