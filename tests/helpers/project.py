"""A copy of the code with settings of its own: no test reads the params.yaml of the user."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from skinlesions.core import config, environment, paths

TINY = Path(__file__).with_name("tiny.yaml")


def tiny() -> dict[str, Any]:
    """The values of the smallest configuration, to be changed at will."""
    return config.read_yaml(TINY)


def settings(**changes: Any) -> config.Params:
    """The smallest configuration, checked; `changes` replaces blocks."""
    return config.validate(tiny() | changes)


def copy_code(root: Path, values: dict[str, Any] | None = None) -> Path:
    """The library and the pipeline in `root`, with `values`, or the smallest configuration, as params.yaml."""
    shutil.copytree(paths.ROOT / "skinlesions", root / "skinlesions", ignore=shutil.ignore_patterns("__pycache__"))
    copy_pipeline(root)
    write_params(root, tiny() if values is None else values)
    return root


def copy_pipeline(root: Path) -> None:
    """The pipeline in `root`, for the packages that are installed here."""
    shutil.copy(paths.PIPELINE, root)
    environment.renew(config.all_packages(), root / environment.FILE.name)


def write_params(root: Path, values: dict[str, Any]) -> None:
    """Write `values` to params.yaml in the folder `root`."""
    (root / paths.PARAMS.name).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
