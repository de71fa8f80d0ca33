"""The list of the files of a report, in it, each with its hash: what has been edited since, and what is somebody's own.

Beside it stands in dvc.lock the hash of the whole folder, which the list itself cannot be edited without.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from skinlesions.core import files, paths

FILE = "contents.json"

RESTORE = "restore reports/ from Git, or run `make report`"


def write(folder: Path) -> None:
    """Write the list of all files below `folder`."""
    files.write_json(folder / FILE, {name: files.sha256(folder / name) for name in found(folder)})


def listed(folder: Path) -> dict[str, str] | None:
    """The files of the report in `folder` by their path in it, with their SHA-256; None if there is no list.

    Raises:
        ValueError: there is one, but not of this form.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    names = files.read_json(path)
    if not isinstance(names, dict) or not all(isinstance(digest, str) for digest in names.values()):
        raise ValueError("it is not a map of files to their hashes")
    return names


def found(folder: Path) -> list[str]:
    """The files and links below `folder`, but for the list, sorted."""
    names = (
        (Path(parent) / name).relative_to(folder).as_posix()
        for parent, folders, own in os.walk(folder)
        for name in (*own, *(name for name in folders if (Path(parent) / name).is_symlink()))
    )
    return sorted(name for name in names if name != FILE)


def foreign(folder: Path) -> list[str]:
    """What is in `folder` but not as the report had it; nothing where that cannot be told, without a list."""
    try:
        names = listed(folder)
    except ValueError:
        names = None
    return [] if names is None else [name for name in found(folder) if not _is_as_listed(folder, name, names)]


def _is_as_listed(folder: Path, name: str, names: Mapping[str, str]) -> bool:
    """Whether `name` in `folder` is one of `names`, and has its hash."""
    path = folder / name
    return name in names and path.is_file() and not path.is_symlink() and files.sha256(path) == names[name]


def faults(folder: Path, lock: Path) -> Iterator[str]:
    """What is in `folder` that the last run has not written so.

    Args:
        folder: of the report.
        lock: dvc.lock; without it, or without a report in it, the list is all that is compared.
    """
    title = paths.relative(folder)
    try:
        names = listed(folder)
    except ValueError as error:
        yield f"{title}/{FILE} cannot be read ({error}); {RESTORE}"
        return
    present = found(folder)
    if names is not None:
        named = [
            *(f"{title}/{name} is not of the report; move it elsewhere" for name in present if name not in names),
            *(f"{title}/{name} is absent; {RESTORE}" for name in sorted(names) if name not in present),
            *(
                f"{title}/{name} was edited; {RESTORE}"
                for name in present
                if name in names and not _is_as_listed(folder, name, names)
            ),
        ]
        if named:
            yield from named
            return
        present.append(FILE)
    recorded = _recorded(lock, folder.name)
    if recorded is not None and recorded != _as_dvc(folder, present):
        which = f"{FILE} itself, or {lock.name}, was edited" if names is not None else "`git status` may say which"
        yield f"{title}: some file is not as the last run wrote it ({which}); {RESTORE}"


def _recorded(lock: Path, output: str) -> str | None:
    """The hash of the folder `output` in dvc.lock; None if it has none."""
    try:
        stages: dict[str, Any] = yaml.load(lock.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)["stages"]
        outs = [out for stage in stages.values() for out in stage.get("outs", [])]
        return next((out["md5"] for out in outs if out["path"] == output), None)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):  # no file, or not one of DVC's
        return None


def _as_dvc(folder: Path, names: list[str]) -> str:
    """The hash of the files `names` of `folder` as DVC notes it: of their list, sorted by the parts of their paths."""
    ordered = sorted((name for name in names if (folder / name).is_file()), key=lambda name: name.split("/"))
    entries = [{"md5": files.md5(folder / name), "relpath": name} for name in ordered]
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir"
