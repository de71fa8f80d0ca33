"""Run the whole pipeline in a throwaway copy of the project, on synthetic images: no data, no GPU, a few minutes.

The copy has the files that Git tracks or would track, uncommitted edits included. The working tree's own params.yaml,
dvc.lock and reports stay as they are.
"""

import argparse
import os
import shutil
import subprocess
from pathlib import Path

from skinlesions.commands import params, pipeline
from skinlesions.commands.environment import renew_inputs
from skinlesions.core import config, environment, exclusive, inputs, paths
from skinlesions.core.errors import UserError

# What the last stages write for Git.
_PUBLISHED = ("reports/", "models/published/")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the preset and the folder."""
    parser.add_argument("--preset", default="sample", help="the parameters of the copy (default: %(default)s)")
    parser.add_argument(
        "--folder", type=Path, default=paths.ROOT / "build" / "demo", help="of the copy, emptied (default: build/demo)"
    )
    parser.add_argument(
        "--jobs",
        type=pipeline.job_count,
        default=min(2, os.cpu_count() or 1),
        help="how many stages run side by side (default: %(default)s); the results are the same",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the pipeline, and say where its report is."""
    demonstrate(params.preset_file(arguments.preset), arguments.folder, arguments.jobs)


def files_to_copy() -> list[str]:
    """The files of the working tree that Git tracks or would track, relative to its root, but nothing published.

    Raises:
        UserError: the project is not in a Git checkout, or Git is missing.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=paths.ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"git cannot list the files of this project ({error}); clone it with git") from None
    names = [name for name in listing.split("\0") if name and (paths.ROOT / name).is_file()]
    return [name for name in names if not name.startswith(_PUBLISHED) and name != paths.DVC_LOCK.name]


def check_target(target: Path) -> None:
    """Refuse a folder that is not under build/.

    Raises:
        UserError: so it is; it would be emptied, and only what lies there may be.
    """
    if paths.ROOT / "build" not in target.resolve().parents:
        raise UserError(f"{target} is not under build/, so it is not emptied for a copy; name one such as build/demo")


def copy_tree(target: Path) -> None:
    """Make `target` a fresh copy of the working tree, with a DVC of its own that knows no Git.

    Raises:
        UserError: as `check_target`.
    """
    check_target(target)
    shutil.rmtree(target, ignore_errors=True)
    for name in files_to_copy():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(paths.ROOT / name, target / name)
    (target / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")


def demonstrate(preset: Path, target: Path, jobs: int = 1) -> None:
    """Run the pipeline with `preset` in a fresh copy under `target`, and say where its report is.

    Args:
        preset: all parameters.
        target: the folder of the copy.
        jobs: how many stages run side by side.

    Raises:
        UserError: a stage failed, or the demonstration is already running in this folder.
    """
    check_target(target)
    # Beside the folder, which is emptied.
    lock = target.resolve().with_name(f".{target.name}.lock")
    with exclusive.alone(lock, f"a demonstration in {paths.relative(target)}"):
        copy_tree(target)
        settings = config.load(preset)
        shutil.copyfile(preset, target / paths.PARAMS.name)
        environment.renew(config.all_packages(), target / environment.FILE.name)
        (target / inputs.FILE.name).unlink(missing_ok=True)  # of other parameters
        renew_inputs(settings, target / inputs.FILE.name)
        variables = {name: value for name, value in pipeline.environment().items() if not name.startswith("DVC_")}
        pipeline.repro(target, variables, jobs)
    print(f"The report is {(target / 'reports' / 'index.html').resolve()}")
