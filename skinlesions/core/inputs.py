"""What the stages read from outside the repository: names and MD5 of the files, in inputs.yaml, which DVC tracks.

The files behind HAM10000_DIR, the external test set and local weights are no outputs of any stage, so that DVC does not
see another one. `make report` renews inputs.yaml before it asks DVC. It holds no path: the same files elsewhere, or by
download, are the same inputs.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from skinlesions.core import files, paths
from skinlesions.core.errors import UserError

FILE = paths.ROOT / "inputs.yaml"

HEADER = (
    "# The files from outside that the stages read, with their MD5, as of the last run. `make report` renews it,\n"
    "# `skinlesions environment` before a plain `dvc repro`.\n"
)

REMEDY = "Run `make report`, or `skinlesions environment` before `dvc repro`"

# The files that a stage reads: their MD5 by name.
Entry = Mapping[str, str]

# MD5 of files that have been read before, by their paths, sizes and times of modification.
KNOWN = paths.PARTIAL / "digests"


def digest(*members: Path) -> str:
    """The MD5 of a file, or that of a list of the names and MD5 of several, in any order.

    Read once: as long as path, size and time of modification are the same, so is the content.
    """
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(members)]
    note = KNOWN / files.md5(json.dumps(states).encode())
    if note.is_file() and len(known := note.read_text(encoding="ascii", errors="replace")) == 32:
        return known
    if len(members) == 1:
        found = files.md5(members[0])
    else:
        found = files.md5("".join(sorted(f"{path.name} {files.md5(path)}\n" for path in members)).encode())
    files.write_text(note, found)
    return found


def recorded(path: Path = FILE) -> dict[str, Entry]:
    """The entries of inputs.yaml by their keys (`ham10000`, `weights.resnet50`); none if it does not exist.

    Raises:
        UserError: it is not what `renew` writes.
    """
    if not path.exists():
        return {}
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = {name: values[name] for name in values if name != "weights"}
        found |= {f"weights.{name}": entry for name, entry in values.get("weights", {}).items()}
        sound = all(isinstance(digest, str) for entry in found.values() for digest in entry.values())
    except (yaml.YAMLError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise UserError(f"{paths.relative(path)} is not a map of inputs to files; delete it, `make report` writes it")
    return found


def renew(entries: Mapping[str, Entry], path: Path = FILE) -> dict[str, tuple[Entry, Entry]]:
    """Write `entries` to inputs.yaml, if they are others.

    Returns:
        What changed: the recorded and the present entry, by key.
    """
    old = recorded(path)
    if old != entries:
        values: dict[str, object] = {name: dict(entries[name]) for name in sorted(entries) if "." not in name}
        weights = [name for name in sorted(entries) if name.startswith("weights.")]
        values["weights"] = {name.removeprefix("weights."): dict(entries[name]) for name in weights}
        files.write_text(path, HEADER + yaml.safe_dump(values))
    names = sorted(old.keys() | entries.keys())
    return {name: (old.get(name, {}), entries.get(name, {})) for name in names if old.get(name) != entries.get(name)}


def check(key: str, entry: Callable[[], Entry], path: Path = FILE) -> None:
    """Refuse to read other files than those that are recorded under `key`; without inputs.yaml nothing is recorded.

    Args:
        key: of inputs.yaml.
        entry: makes the entry of what is about to be read.
        path: of inputs.yaml.

    Raises:
        UserError: so it is: what comes of them would be noted as that of the others.
    """
    if not path.exists():
        return
    changes = described(recorded(path).get(key, {}), entry())
    if changes:
        raise UserError(f"the files of {key} are others than {paths.relative(path)} says: {changes}. {REMEDY}")


def described(old: Entry, new: Entry) -> str:
    """The difference of two entries in words."""
    names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {old.get(name, 'absent')} → {new.get(name, 'absent')}" for name in names)
