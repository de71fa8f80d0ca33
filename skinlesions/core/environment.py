"""The packages that results depend on: their versions, in environment.yaml, which DVC tracks like a parameter.

`make report` renews that file from what is installed, so that another version reruns the stages that import it.
"""

import importlib.metadata
import os
from functools import cache
from pathlib import Path

import yaml

from skinlesions.core import files, paths
from skinlesions.core.errors import UserError

FILE = paths.ROOT / "environment.yaml"

# Keras computes by the package that its variable names.
BACKEND = "keras_backend"
DEFAULT_BACKEND = "tensorflow"

REMEDY = "delete it, `make report` writes it anew"

HEADER = (
    "# The packages that the stages import, as they were installed for the last run. `make report` renews this file.\n"
)


@cache
def _distributions() -> dict[str, str]:
    """The package of every module that can be imported: PIL is of pillow."""
    return {module: names[0].lower() for module, names in importlib.metadata.packages_distributions().items()}


def package(module: str) -> str | None:
    """The installed package that the top-level `module` is of; None for the standard library and this project."""
    return None if module == "skinlesions" else _distributions().get(module)


def installed(packages: set[str]) -> dict[str, str]:
    """The versions of `packages` as they are installed, with Keras its backend, sorted.

    Raises:
        UserError: one is not installed.
    """
    try:
        found = {name: importlib.metadata.version(name) for name in packages - {BACKEND}}
        if "keras" in packages:
            backend = os.environ.get("KERAS_BACKEND") or DEFAULT_BACKEND
            found[BACKEND] = f"{backend} {importlib.metadata.version(backend)}"
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(f"the package {error.name} is not installed; `make setup` installs all") from None
    return dict(sorted(found.items()))


def recorded(path: Path = FILE) -> dict[str, str]:
    """What environment.yaml says; nothing if it does not exist.

    Raises:
        UserError: it is not a map of names to versions.
    """
    if not path.exists():
        return {}
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{paths.relative(path)} is not YAML ({error}); {REMEDY}") from None
    if not isinstance(values, dict) or not all(isinstance(version, str) for version in values.values()):
        raise UserError(
            f"{paths.relative(path)} is not a map of packages to versions; delete it, `make report` writes it"
        )
    return values


def renew(packages: set[str], path: Path = FILE) -> dict[str, tuple[str, str]]:
    """Write the versions of `packages` to environment.yaml, if they are others.

    Returns:
        What changed: the recorded and the present version, by package; an empty string for none.
    """
    old, new = recorded(path), installed(packages)
    if old != new:
        files.write_text(path, HEADER + yaml.safe_dump(new))
    names = sorted(old.keys() | new.keys())
    return {name: (old.get(name, ""), new.get(name, "")) for name in names if old.get(name) != new.get(name)}


def check(packages: set[str], path: Path = FILE) -> None:
    """Refuse to compute with other versions of `packages` than those that are recorded.

    Raises:
        UserError: a version differs: what a stage computes would be noted under the wrong one.
    """
    known = recorded(path)
    wrong = [
        f"{name} is {version}, {paths.relative(path)} says {known.get(name, 'nothing')}"
        for name, version in installed(packages).items()
        if known.get(name) != version
    ]
    if wrong:
        raise UserError(f"{'; '.join(wrong)}. Run `make report`, or `skinlesions environment` before `dvc repro`")
