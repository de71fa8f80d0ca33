"""DVC, as the commands call it: run by this interpreter, which its stages get too, whatever the user's PATH is."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

from skinlesions.core import paths
from skinlesions.core.errors import UserError

# Where the outputs of the stages are. A clone has none of them, which is no reason to run a stage again.
_DATA = "data/"


def environment() -> dict[str, str]:
    """This process' environment for DVC and its stages: `python` is this interpreter, and logs come line by line."""
    folder = str(Path(sys.executable).parent)
    quiet = {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return quiet | os.environ | {"PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])}


def repro(root: Path, variables: dict[str, str] | None = None) -> None:
    """Run what is not up to date of the pipeline of the project at `root`.

    Args:
        root: of the project.
        variables: the environment; by default that of `environment`.

    Raises:
        UserError: a stage failed.
    """
    # What this process has printed comes before what the stages print.
    sys.stdout.flush()
    command = [sys.executable, "-m", "dvc", "repro"]
    if subprocess.run(command, cwd=root, env=variables or environment(), check=False).returncode:
        raise UserError(f"the pipeline failed in {paths.relative(root)}; the stage above says why")


def waiting(root: Path) -> dict[str, list[str]]:
    """The stages that the next `dvc repro` runs, in no order, each with what changed since dvc.lock was written.

    Data that are only absent, as in a clone, do not count. A stage that reads what such a stage writes waits as well.

    Raises:
        UserError: DVC cannot tell, for instance because dvc.yaml is not valid.
    """
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"DVC cannot tell what is up to date:\n{done.stderr.strip()}")
    status: dict[str, list[Any]] = json.loads(done.stdout)
    lock = _read_lock(root)
    found = {
        stage: reasons
        for stage, changes in status.items()
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
