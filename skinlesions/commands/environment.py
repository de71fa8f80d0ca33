"""Renew environment.yaml: the versions of the packages that the stages import, as they are installed.

`make report` does so by itself. Before a plain `dvc repro` in another environment, this is the one thing to do: stages
refuse to compute with other versions than those that are written down.
"""

import argparse

from skinlesions.core import config, environment


def configure(parser: argparse.ArgumentParser) -> None:
    """It takes no arguments."""


def run(arguments: argparse.Namespace) -> None:
    """Renew the file, and print what changed."""
    print(renew() or "environment.yaml is what is installed.")


def renew() -> str:
    """Renew environment.yaml; what changed, a line per package."""
    changed = environment.renew(config.all_packages())
    return "\n".join(f"{name}: {old or 'absent'} → {new or 'no longer needed'}" for name, (old, new) in changed.items())
