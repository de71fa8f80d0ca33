"""DVC, as the commands call it: run by this interpreter, which its stages get too, whatever the user's PATH is."""

import argparse
import itertools
import json
import os
import subprocess
import sys
import textwrap
from contextlib import AbstractContextManager
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import psutil
import yaml

from skinlesions.core import exclusive, files, paths, scheduling
from skinlesions.core.errors import UserError

# It waits for another DVC that works for a moment: a stage of hours must not fail because somebody asks for the status.
# It ends with the command, however that ends: it would go on to the next stage.
_DVC = [sys.executable, "-m", "skinlesions.core.lifeline", str(os.getpid()), "dvc", "--wait-for-lock"]

# A stage takes no more of the memory of the GPU than it needs, so that others have room beside it.
_SHARING_A_GPU = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

# Where the outputs of the stages are. A clone has none of them, which is no reason to run a stage again.
_DATA = "data/"


def environment() -> dict[str, str]:
    """This process' environment for DVC and its stages: `python` is this interpreter, and logs come line by line."""
    folder = str(Path(sys.executable).parent)
    quiet = {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return quiet | os.environ | {"PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])}


def job_count(text: str) -> int:
    """The number of jobs on a command line.

    Raises:
        argparse.ArgumentTypeError: it is no number from 1 on.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def alone(root: Path) -> AbstractContextManager[None]:
    """A block in which no other run of the project at `root` is going on; a UserError names the one that is."""
    return exclusive.alone(root / ".dvc" / "tmp" / "run.lock", f"a run in {paths.relative(root)}")


def repro(root: Path, variables: dict[str, str] | None = None, jobs: int = 1) -> None:
    """Run what is not up to date of the pipeline of the project at `root`.

    Args:
        root: of the project.
        variables: the environment; by default that of `environment`.
        jobs: how many stages run side by side; the results are the same.

    Raises:
        UserError: a stage failed.
    """
    # What this process has printed comes before what the stages print.
    sys.stdout.flush()
    _forget_crashed(root)
    variables = variables or environment()
    if jobs == 1:
        command = [*_DVC, "repro"]
        failed = scheduling.run(
            {"": set()}, lambda _, processes: processes.run(command, cwd=root, env=variables) == 0, jobs
        )
        if failed:
            raise UserError(f"the pipeline failed in {paths.relative(root)}; the stage above says why")
        return
    logs = root / paths.LOGS.name / "stages"

    def run(stage: str, processes: scheduling.Processes) -> bool:
        command = [*_DVC, "repro", "--single-item", stage]
        return scheduling.logged(
            command, stage, logs / f"{stage}.log", processes, cwd=root, env=_SHARING_A_GPU | variables
        )

    failed = scheduling.run(_needs(root), run, jobs)
    if failed:
        raise UserError(
            f"{', '.join(failed)} failed; "
            + ", ".join(paths.relative(logs / f"{stage}.log") for stage in failed)
            + " says why. What ran beside has come to its end; the same command goes on from here"
        )


def _needs(root: Path) -> dict[str, set[str]]:
    """The stages that are perhaps not up to date, each with those of them that it needs."""
    from dvc.repo import Repo  # only here: it takes a second

    changed = _status(root)
    with Repo(str(root)) as repo:
        graph = repo.index.graph
        needs = {stage.name: {need.name for need in graph.successors(stage)} for stage in graph}
    pending: dict[str, set[str]] = {}
    for stage in TopologicalSorter(needs).static_order():
        if stage in changed or needs[stage] & pending.keys():
            pending[stage] = needs[stage] & pending.keys()
    return pending


def _forget_crashed(root: Path) -> None:
    """Remove DVC's list of what its processes read and write, if none of them runs.

    DVC leaves it behind when it is killed, and believes it as soon as another process has the number of the dead one.
    """
    file = root / ".dvc" / "tmp" / "rwlock"
    try:
        entries = files.read_json(file)
    except FileNotFoundError:
        return
    except ValueError:  # killed while it wrote
        entries = {}
    holders = [*entries.get("write", {}).values(), *itertools.chain(*entries.get("read", {}).values())]
    if not any(_is_dvc(holder["pid"]) for holder in holders):
        file.unlink()


def _is_dvc(number: int) -> bool:
    """Whether the process of this number runs DVC."""
    try:
        return any("dvc" in word for word in psutil.Process(number).cmdline())
    except psutil.Error:
        return False


def _status(root: Path) -> dict[str, list[Any]]:
    """What `dvc status` says: the stages that are not up to date, each with what changed.

    Raises:
        UserError: DVC cannot tell, for instance because dvc.yaml is not valid.
    """
    command = [*_DVC, "status", "--json"]
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"DVC cannot tell what is up to date:\n{done.stderr.strip()}")
    status: dict[str, list[Any]] = json.loads(done.stdout)
    return status


def waiting(root: Path) -> dict[str, list[str]]:
    """The stages that the next `dvc repro` runs, in no order, each with what changed since dvc.lock was written.

    Data that are only absent, as in a clone, do not count. A stage that reads what such a stage writes waits as well.

    Raises:
        UserError: DVC cannot tell, for instance because dvc.yaml is not valid.
    """
    lock = _read_lock(root)
    found = {
        stage: reasons
        for stage, changes in _status(root).items()
        if (reasons := _reasons(changes, lock.get(stage, {}).get("params", {}), root))
    }
    return found | _following(found, lock)


def _read_lock(root: Path) -> dict[str, Any]:
    """The stages in dvc.lock, as they last ran; none where there is no such file."""
    path = root / paths.DVC_LOCK.name
    if not path.is_file():
        return {}
    stages: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader).get("stages", {})
    return stages


def _reasons(changes: list[Any], noted: dict[str, dict[str, Any]], root: Path) -> list[str]:
    """What of `changes`, as `dvc status --json` lists them for a stage, is more than absent data.

    Args:
        changes: of the stage.
        noted: the parameters that it last ran with, by file and key.
        root: of the project.
    """
    reasons = []
    for change in changes:
        if isinstance(change, str):
            reasons.append("its command" if change == "changed command" else change)
            continue
        for kind, items in change.items():
            for path, state in items.items():
                if isinstance(state, dict):  # a file of parameters: its keys
                    reasons += _parameters(root / path, noted.get(path, {}), list(state))
                elif state != "not in cache" and not (state == "deleted" and path.startswith(_DATA)):
                    reasons.append(path if kind == "changed deps" else f"its output {path}")
    return sorted(reasons)


def _parameters(path: Path, noted: dict[str, Any], keys: list[str]) -> list[str]:
    """What of the parameters `keys` in the file `path` is not as `noted`: each value with the one of before."""
    try:
        present = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        present = {}
    found = []
    for key in keys:
        value = present
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        old, new = _leaves(key, noted.get(key)), _leaves(key, value)
        changed = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
        found += [f"{name} {_shown(old, name)} → {_shown(new, name)} in {path.name}" for name in changed]
    return found


def _leaves(key: str, value: Any) -> dict[str, Any]:
    """The values below `value`, by their dotted keys."""
    if isinstance(value, dict):
        return {name: leaf for part, item in value.items() for name, leaf in _leaves(f"{key}.{part}", item).items()}
    return {} if value is None else {key: value}


def _shown(values: dict[str, Any], key: str) -> str:
    """The value of `key`, short; `absent` if there is none."""
    return textwrap.shorten(str(values[key]), 40) if key in values else "absent"


def _following(first: dict[str, list[str]], stages: dict[str, Any]) -> dict[str, list[str]]:
    """Those of `stages`, from dvc.lock, that read, at any remove, what the stages `first` write: whose output it is."""
    written = {stage: [item["path"] for item in entry.get("outs", [])] for stage, entry in stages.items()}
    read = {stage: [item["path"] for item in entry.get("deps", [])] for stage, entry in stages.items()}
    found: dict[str, list[str]] = {}
    new = set(first)
    while new:
        outputs = [(stage, path) for stage in sorted(new) for path in written.get(stage, [])]
        reached = {
            stage: sorted({f"the output of {writer}" for writer, output in outputs if _touches(inputs, output)})
            for stage, inputs in read.items()
            if stage not in first and stage not in found
        }
        new = {stage for stage, writers in reached.items() if writers}
        found |= {stage: reached[stage] for stage in new}
    return found


def _touches(inputs: list[str], output: str) -> bool:
    """Whether one of the paths `inputs` is `output`, is in it, or has it in itself."""
    return any(path == output or path.startswith(f"{output}/") or output.startswith(f"{path}/") for path in inputs)
