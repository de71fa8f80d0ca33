"""Where the numbers of the report come from: data, weights, parameters, code, software, hardware."""

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from skinlesions.core import files, paths
from skinlesions.core.config import Params

# What the pipeline itself writes does not make the code differ from its commit.
_OUTPUTS = ("reports", "models/published", "dvc.lock")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


def collect(data: Path, parameters: Params, root: Path = paths.ROOT) -> dict[str, Any]:
    """Everything needed to tell what gave the results in `data`: no host name, no path of the machine, no time.

    Args:
        data: the folder with raw/, external_raw/ and weights/.
        parameters: those of the run.
        root: of the repository.
    """
    raw = data / "raw"
    external = data / "external_raw"
    backbones = sorted((data / "weights").glob("*.json"))
    return {
        "parameters": _without_folders(parameters.model_dump(mode="json")),
        "data": described(raw),
        "external": described(external) if (external / "manifest.csv").exists() else None,
        "weights": {path.stem: files.read_json(path) for path in backbones if path.stem in parameters.backbones},
        "code": code(root),
        "software": {"python": platform.python_version(), "packages": packages(root / "requirements.in")},
        "hardware": hardware(),
    }


def _without_folders(parameters: dict[str, Any]) -> dict[str, Any]:
    """`parameters` with the names of the data's files and folders alone: where they lie here is nobody's business."""
    data = dict(parameters["data"])
    if data["folder"]:
        data["folder"] = Path(data["folder"]).name
    if data["external"]:
        names = {key: Path(data["external"][key]).name for key in ("images", "ground_truth")}
        data["external"] = data["external"] | names
    return parameters | {"data": data}


def described(folder: Path) -> dict[str, Any]:
    """What source.json in `folder` says of the images there, and the hash of the list of theirs."""
    return files.read_json(folder / "source.json") | {"manifest_sha256": files.sha256(folder / "manifest.csv")}


def code(root: Path) -> dict[str, str | bool | None]:
    """The commit of the repository at `root` and whether files differ from it; both None where Git cannot tell."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # A copy in an ignored folder of another repository is not that repository's commit.
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return {"commit": None, "uncommitted_changes": None}
        outputs = [f":(exclude){name}" for name in _OUTPUTS]
        changes = git("status", "--porcelain", "--untracked-files=normal", "--", ".", *outputs)
        return {"commit": git("rev-parse", "HEAD"), "uncommitted_changes": bool(changes)}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "uncommitted_changes": None}


def packages(requirements: Path) -> dict[str, str]:
    """The installed versions of the direct dependencies, as `requirements` lists them."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    names = [match.group() for line in lines if (match := _NAME.match(line))]
    return {name: metadata.version(name) for name in sorted(names, key=str.lower)}


def hardware() -> str:
    """The class of this machine, such as "CPU, 2 cores, x86_64"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ", ".join([*_gpus(), "CPU", f"{cores} core{'s' if cores > 1 else ''}", platform.machine()])


def _gpus() -> list[str]:
    """The names of the GPUs that the driver offers."""
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    result = subprocess.run(command, capture_output=True, text=True)
    return [line.strip() for line in result.stdout.splitlines() if line.strip()] if result.returncode == 0 else []
