"""HAM10000 from Harvard Dataverse: resolved by DOI, resumed where a connection broke, checked against pinned hashes.

The file list comes from Dataverse's API, the content from presigned addresses of an object store to which the API
redirects. These expire, so every attempt asks the API again.
"""

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from skinlesions.core import files, paths
from skinlesions.core.errors import UserError
from skinlesions.core.progress import Progress

BASE_URL = "https://dataverse.harvard.edu"
DOI = "doi:10.7910/DVN/DBW86T"


@dataclass(frozen=True)
class PublishedFile:
    """A file of the dataset as published in version 4.0, under the name it gets here.

    `bytes` and `sha256` are None where nobody vouches for them: Dataverse's list then says how large the file is, and
    its MD5 alone says whether it is the published one.
    """

    name: str
    bytes: int | None
    md5: str
    sha256: str | None


@dataclass(frozen=True)
class SizedFile(PublishedFile):
    """A published file of which it is known how large it is."""

    bytes: int


FILES = (
    PublishedFile(
        "HAM10000_metadata.csv",
        690_218,
        "8f85fb1aa29d80a2797247e434deb79d",
        "de17ec44cb25ea9c3f6378ba18d69224c740afd62e86ec2edc6a894d6aa663d3",
    ),
    PublishedFile(
        "HAM10000_images_part_1.zip",
        1_366_522_108,
        "4639bfa73ab251610530a97c898e6e46",
        "6202a599129c2efe81c25aea8586d422eeda8a4fae5df49dd7b7bbf956d419db",
    ),
    PublishedFile(
        "HAM10000_images_part_2.zip",
        1_403_566_547,
        "da43d6cc50f6613013be07e8986b384b",
        "9677f30118c21ecc667a147de369d89acb25efab046fd32f6b13ad677ce2d6d0",
    ),
)

# The official test set of ISIC 2018 Task 3, in the same record; fetched only where data.external asks for it.
TEST_FILES = (
    PublishedFile("ISIC2018_Task3_Test_Images.zip", None, "0488b6f65849e310857d9207daa55a21", None),
    PublishedFile("ISIC2018_Task3_Test_GroundTruth.csv", None, "2b5663aacc9644740f27e355cf7f369a", None),
)

# Dataverse refuses the default User-Agent of Python libraries. Compressed transfer would make byte ranges ambiguous.
HEADERS = {"User-Agent": "skinlesions (reproducible HAM10000 pipeline)", "Accept-Encoding": "identity"}

# Seconds to connect, and between two pieces of an answer.
TIMEOUT = (5, 60)

# How often the list is asked for, and how often in a row a download may fail without getting further.
LIST_ATTEMPTS = 2
FILE_ATTEMPTS = 8

LIST_BYTES = 10_000_000

# How much is written at once; less than this is lost when a connection breaks.
CHUNK_BYTES = 1 << 16

# Answers after which another attempt may go better: busy, broken, or a presigned address that has expired.
PASSING = (403, 408, 416, 425, 429, 500, 502, 503, 504)

WAYS_OUT = """HAM10000 can come from three places:
  a folder     get the three files of https://doi.org/10.7910/DVN/DBW86T, or Kaggle's copy of them, and set
               HAM10000_DIR=FOLDER or data.folder in params.yaml
  the network  run the same command again where dataverse.harvard.edu can be reached; a download goes on where it broke
  nowhere      `make demo` runs the whole pipeline on synthetic images, offline"""


class _Interrupted(Exception):
    """An attempt that failed in a way that another may not."""


@dataclass(frozen=True)
class ListedFile:
    """A file in the answer of the API."""

    identifier: int
    md5: str
    bytes: int | None
    tabular: bool
    restricted: bool


def back_off(failures: int) -> None:
    """Sleep 1 s after the first failure, twice as long after each further one, at most a minute."""
    time.sleep(min(2 ** (failures - 1), 60))


def download(
    folder: Path,
    *,
    base_url: str = BASE_URL,
    doi: str = DOI,
    published: tuple[PublishedFile, ...] = FILES,
    wait: Callable[[int], None] = back_off,
) -> None:
    """Bring the published files into `folder`. What is there already, whole or in part, is not fetched again.

    Args:
        folder: made if absent; an unfinished file has the suffix `.part`.
        base_url: the Dataverse installation.
        doi: the dataset.
        published: which files, and what they must hash to.
        wait: called with the number of failures in a row before another attempt.

    Raises:
        UserError: Dataverse cannot be reached, its files are not the pinned ones, or the disk is too small.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [file for file in published if not is_whole(folder / file.name, file)]
    if not missing:
        return
    with requests.Session() as session:
        session.headers.update(HEADERS)
        listed = list_files(session, base_url, doi, wait)
        addresses = {file.name: _address(file, listed, base_url, doi) for file in missing}
        sized = [_sized(file, listed, doi) for file in missing]
        _check_space(folder, sized)
        for file in sized:
            _download_file(session, addresses[file.name], folder / file.name, file, wait)


def list_files(
    session: requests.Session, base_url: str, doi: str, wait: Callable[[int], None]
) -> dict[str, ListedFile]:
    """The files of the latest version of the dataset, by name without suffix, in lower case.

    Raises:
        UserError: Dataverse cannot be reached, or answers otherwise than documented.
    """
    url = f"{base_url}/api/datasets/:persistentId/"
    for failures in range(1, LIST_ATTEMPTS + 1):
        try:
            with session.get(url, params={"persistentId": doi}, stream=True, timeout=TIMEOUT) as response:
                _check_status(response)
                content = response.raw.read(LIST_BYTES + 1)
            break
        except (requests.RequestException, _Interrupted, OSError) as error:
            if failures == LIST_ATTEMPTS:
                raise UserError(f"{base_url} cannot be reached ({_reason(error)}).\n{WAYS_OUT}") from None
            wait(failures)
    try:
        entries = json.loads(content)["data"]["latestVersion"]["files"]
        return {Path(entry["label"]).stem.lower(): _listed(entry) for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{base_url} answered with something other than the file list of {doi} ({_reason(error)}).\n{WAYS_OUT}"
        ) from None


def _listed(entry: dict[str, Any]) -> ListedFile:
    file = entry["dataFile"]
    md5 = file.get("md5") or file["checksum"]["value"]
    # Of a table, `filesize` is that of Dataverse's own form.
    tabular = "originalFileName" in file
    size = file.get("originalFileSize" if tabular else "filesize")
    return ListedFile(int(file["id"]), str(md5), int(size) if size else None, tabular, bool(entry.get("restricted")))


def _address(file: PublishedFile, listed: dict[str, ListedFile], base_url: str, doi: str) -> str:
    """Where the API gives the content of `file`, after a check that it is still the published one."""
    entry = listed.get(Path(file.name).stem.lower())
    if entry is None:
        raise UserError(f"{doi} has no file {file.name} any more; its files: {', '.join(sorted(listed))}.\n{WAYS_OUT}")
    if entry.restricted:
        raise UserError(f"{doi}: {file.name} is not open for download at present.\n{WAYS_OUT}")
    if entry.md5 != file.md5:
        raise UserError(
            f"{doi}: {file.name} has the MD5 {entry.md5} there; version 4.0, with which this project works, has "
            f"{file.md5}. Get version 4.0 by hand.\n{WAYS_OUT}"
        )
    # Dataverse turns tables into its own form; the MD5 is that of the original.
    return f"{base_url}/api/access/datafile/{entry.identifier}" + ("?format=original" if entry.tabular else "")


def _sized(file: PublishedFile, listed: dict[str, ListedFile], doi: str) -> SizedFile:
    """`file` with the size in the list where none is pinned."""
    size = file.bytes or listed[Path(file.name).stem.lower()].bytes
    if not size:
        raise UserError(f"{doi}: the list does not say how large {file.name} is; get the file by hand.\n{WAYS_OUT}")
    return SizedFile(file.name, size, file.md5, file.sha256)


def _check_space(folder: Path, missing: list[SizedFile]) -> None:
    """Refuse to begin what cannot end."""
    needed = sum(file.bytes - _size(_part(folder / file.name)) for file in missing)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{paths.relative(folder)}: the download needs {needed / 1e9:,.1f} GB more, and {free / 1e9:,.1f} GB are "
            "free; make room, or set HAM10000_DIR to a folder that has the files"
        )


def _download_file(
    session: requests.Session, url: str, target: Path, file: SizedFile, wait: Callable[[int], None]
) -> None:
    """Fetch one file, in as many attempts as it takes while they get further."""
    part = _part(target)
    if _size(part) > file.bytes:
        part.unlink()
    furthest, failures, damaged = _size(part), 0, False
    with Progress(f"data: {file.name}", file.bytes, "bytes", furthest) as progress:
        while True:
            try:
                if _size(part) < file.bytes:
                    _attempt(session, url, part, file, progress)
                if is_whole(part, file):
                    part.replace(target)
                    return
                part.unlink()
                if damaged:
                    raise UserError(
                        f"{url}: twice the content did not have the {_hash_name(file)} of {file.name}.\n{WAYS_OUT}"
                    )
                damaged = True
                raise _Interrupted("the content is damaged")
            except (requests.RequestException, _Interrupted) as error:
                failures = 1 if _size(part) > furthest else failures + 1
                furthest = max(furthest, _size(part))
                if failures >= FILE_ATTEMPTS:
                    raise UserError(
                        f"{url}: {failures} attempts in a row got no further ({_reason(error)}).\n{WAYS_OUT}"
                    ) from None
                wait(failures)


def _attempt(session: requests.Session, url: str, part: Path, file: SizedFile, progress: Progress) -> None:
    """Append to `part` what the server gives; return when the file is complete.

    Raises:
        _Interrupted, requests.RequestException: it is not; what is worth keeping is in `part`.
    """
    done = _size(part)
    headers = {"Range": f"bytes={done}-"} if done else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:
            part.unlink(missing_ok=True)
        _check_status(response)
        if response.status_code == 206:
            answer = response.headers.get("Content-Range", "")
            if not re.fullmatch(rf"bytes {done}-\d+/({file.bytes}|\*)", answer):
                part.unlink(missing_ok=True)
                raise _Interrupted(f"asked for the bytes from {done:,}, the server gave {answer or 'no range'!r}")
        else:
            done = 0  # the server knows no ranges: all of it again
        progress.set(done)
        with part.open("ab" if done else "wb") as stream:
            for chunk in response.iter_content(CHUNK_BYTES):
                done += len(chunk)
                if done > file.bytes:
                    part.unlink()
                    raise _Interrupted(f"more than the {file.bytes:,} bytes of {file.name}")
                stream.write(chunk)
                progress.advance(len(chunk))
    if done < file.bytes:
        raise _Interrupted(f"the connection ended after {done:,} of {file.bytes:,} bytes")


def _check_status(response: requests.Response) -> None:
    if response.status_code in (200, 206):
        return
    reason = f"HTTP {response.status_code} {response.reason}"
    if response.status_code in PASSING:
        raise _Interrupted(reason)
    raise UserError(f"{response.url.partition('?')[0]}: {reason}.\n{WAYS_OUT}")


def is_whole(path: Path, file: PublishedFile) -> bool:
    """Whether `path` has the MD5 that Dataverse lists, and the size and the SHA-256 that are pinned here, if any."""
    if not path.is_file() or file.bytes not in (None, _size(path)):
        return False
    return files.md5(path) == file.md5 and file.sha256 in (None, files.sha256(path))


def _hash_name(file: PublishedFile) -> str:
    return f"SHA-256 {file.sha256}" if file.sha256 else f"MD5 {file.md5}"


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    """The error in a few words: the innermost cause, without the name of the connection object."""
    while isinstance(error, requests.RequestException) and error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    cause = getattr(error, "reason", None)
    text = str(cause if isinstance(cause, Exception) else error) or type(error).__name__
    return re.sub(r"^<?\w+(\(.*?\)| object at 0x[0-9a-f]+>): ", "", text)
