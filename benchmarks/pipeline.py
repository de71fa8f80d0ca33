"""The pipeline as a whole: the largest memory of each stage, for several numbers of images, and a run with no work."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from benchmarks.measurement import HAM10000_VARIABLE, best_seconds, ham10000_folder, verdict
from skinlesions.commands import demo
from skinlesions.core import config, files, paths
from skinlesions.core.errors import UserError

# The published parameters, but with few epochs and two random backbones, which takes no memory away.
PRESET = Path(__file__).with_name("pipeline.yaml")
SAMPLES = (500, 2000)
QUICK_SAMPLES = (130, 260)

TARGET_SECONDS = 5
TARGET_GIGABYTES = 6
# ru_maxrss counts kilobytes, but bytes on macOS.
GIGABYTE = 2**30 if sys.platform == "darwin" else 2**20


def environment() -> dict[str, str]:
    """This one, with this interpreter first and the folder of the data as an absolute path."""
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    folder = ham10000_folder()
    return {**os.environ, **own, **({HAM10000_VARIABLE: str(folder)} if folder else {})}


def dvc(folder: Path, *arguments: str) -> tuple[str, float]:
    """What `dvc` prints in `folder`, and the largest memory of one of its processes in GB.

    Raises:
        UserError: it failed.
    """
    log = folder / "logs" / "benchmark.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment(), stdout=stream, stderr=stream
        )
        # The usage of the process and of all that it waited for; the largest of them, not their sum.
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    output = log.read_text(encoding="utf-8")
    if process.returncode:
        raise UserError(f"dvc {' '.join(arguments)} failed in {paths.relative(folder)}:\n{output}")
    return output, usage.ru_maxrss / GIGABYTE


def copy(name: str, source: str, sample_images: int) -> Path:
    """A copy of the project under build/, set up for the data `source`."""
    folder = paths.ROOT / "build" / f"benchmark-{name}"
    demo.copy_tree(folder)
    settings = config.read_yaml(PRESET)
    settings["data"] |= {"source": source, "sample_images": sample_images}
    config.validate(settings, PRESET.name)
    files.write_text(folder / paths.PARAMS.name, yaml.safe_dump(settings, sort_keys=False))
    return folder


def memory(folder: Path) -> dict[str, float]:
    """Run every stage in `folder` on its own; the largest memory of each in GB."""
    stages, _ = dvc(folder, "stage", "list", "--name-only")  # dvc.yaml has them in the order of the data
    found = {}
    for stage in stages.split():
        print(f"{folder.name}: {stage}", file=sys.stderr, flush=True)
        _, found[stage] = dvc(folder, "repro", "--single-item", stage)
    return found


def nothing_to_do(folder: Path) -> dict[str, float]:
    """Seconds of `dvc repro` in `folder`, where all is done, and of a DVC command that does nothing at all."""
    return best_seconds({"repro": lambda: dvc(folder, "repro"), "version": lambda: dvc(folder, "--version")})


def measure(quick: bool) -> dict[str, pd.DataFrame]:
    """Memory by stage and number of images, and the time of a run with nothing to do on the largest of them."""
    folders = {
        f"{count:,} of the sample": copy(f"sample-{count}", "sample", count)
        for count in (QUICK_SAMPLES if quick else SAMPLES)
    }
    if ham10000_folder() and not quick:
        folders["HAM10000"] = copy("ham10000", "ham10000", SAMPLES[0])
    found = {name: memory(folder) for name, folder in folders.items()}
    *_, largest = folders
    idle = nothing_to_do(folders[largest])
    first = next(iter(found))
    columns = {f"{name}, GB": [f"{values[stage]:.2f}" for stage in found[first]] for name, values in found.items()}
    table = pd.DataFrame({"stage": list(found[first]), **columns})
    table["last ÷ first"] = [f"{found[largest][stage] / found[first][stage]:.2f}" for stage in found[first]]
    table["target, GB"] = [verdict(found[largest][stage], TARGET_GIGABYTES, at_least=False) for stage in found[first]]
    runs = pd.DataFrame(
        [
            (
                "`dvc repro`, nothing to do",
                f"{idle['repro']:.1f}",
                verdict(idle["repro"], TARGET_SECONDS, at_least=False),
            ),
            ("`dvc --version`, the start of DVC itself", f"{idle['version']:.1f}", ""),
            ("ratio", f"{idle['repro'] / idle['version']:.1f}", ""),
        ],
        columns=["command", "seconds", "target"],
    )
    return {"Largest memory of one process, by stage": table, f"A run with nothing to do, {largest}": runs}
