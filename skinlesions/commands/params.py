"""Write presets into params.yaml: files of presets/ that change some of its keys, one after the other."""

import argparse
from pathlib import Path

from skinlesions.core import paths, presets
from skinlesions.core.errors import UserError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the presets."""
    parser.add_argument("presets", metavar="PRESET", nargs="+", help="the name of a file of presets/, or a path")


def run(arguments: argparse.Namespace) -> None:
    """Apply the presets in their order."""
    for name in arguments.presets:
        presets.apply(preset_file(name))


def preset_file(name: str) -> Path:
    """The file of the preset `name`: `gpu` is presets/gpu.yaml, anything that ends in .yaml is a path.

    Raises:
        UserError: there is no such preset.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else paths.ROOT / "presets" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in (paths.ROOT / "presets").glob("*.yaml")))
        raise UserError(f"there is no preset {name!r}; name one of {known}, or the path of a .yaml file")
    return path.resolve()
