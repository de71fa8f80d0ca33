"""Which stages of the pipeline are not up to date with code, parameters, data, packages and outside files, and why.

Renews environment.yaml and inputs.yaml, as `make report` does, and says what the next `dvc repro` runs, compared with
dvc.lock, where the last run is written down. Data and files that are only absent, as in a fresh clone, do not count.
"""

import argparse
import textwrap

from skinlesions.commands import environment, pipeline
from skinlesions.core import config, paths
from skinlesions.core.errors import UserError

# Of what changed for a stage.
SHOWN = 4


def configure(parser: argparse.ArgumentParser) -> None:
    """It takes no arguments."""


def run(arguments: argparse.Namespace) -> None:
    """Print a line per stage that waits, or that none does."""
    settings = config.load()
    try:
        with pipeline.alone(paths.ROOT):
            environment.renew(settings, to_run=False)
    except UserError as error:  # what a run has begun with must not change under it
        print(error)
    print(described(pipeline.waiting(paths.ROOT)))


def described(waiting: dict[str, list[str]]) -> str:
    """What pipeline.waiting found: a line per stage, or per stages of one kind that wait for the same."""
    if not waiting:
        return "Every stage is up to date with the code, the parameters and the data."
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for stage, reasons in sorted(waiting.items()):
        groups.setdefault((stage.partition("@")[0], tuple(reasons)), []).append(stage)
    lines = [
        textwrap.fill(f"{', '.join(stages)}: {_short(reasons)}", 118, initial_indent="  ", subsequent_indent="    ")
        for (_, reasons), stages in groups.items()
    ]
    return "\n".join([f"{len(waiting)} stage(s) wait for the next `dvc repro`; what changed:", *lines])


def _short(reasons: tuple[str, ...]) -> str:
    """The first of `reasons`, and how many more there are."""
    more = len(reasons) - SHOWN
    return ", ".join(reasons[:SHOWN]) + (f" and {more} more" if more > 0 else "")
