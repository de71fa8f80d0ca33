"""The pipeline on a tiny sample, run twice in copies of the working tree; the tests of this folder share the two runs.

The two copies have different paths and the same commit. The first runs without a hitch. The second meets a wrong
parameter, is mended, is killed in the middle of a training, and is finished.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from skinlesions.commands import demo
from skinlesions.commands.environment import renew_inputs
from skinlesions.core import config, inputs, paths
from tests.helpers.project import TINY

FINISHED = "Data and pipelines are up to date."

# A fixed author and time: the same files give the same commit, whose hash is in the report.
AUTHOR = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "Test"), ("EMAIL", "test@example.org"), ("DATE", "2020-01-01T00:00:00+00:00"))
}


@dataclass(frozen=True)
class Project:
    """A copy of the working tree with a Git repository of its own."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """That of the tests, with this interpreter first, and no setting that a user's machine would not have."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DVC_", "GIT_", "PYTHON", "HAM10000_", "SKINLESIONS_"))
        }
        own = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "DVC_SITE_CACHE_DIR": str(self.root.parent / "site"),
            "DVC_GLOBAL_CONFIG_DIR": str(self.root.parent / "global"),
            "DVC_SYSTEM_CONFIG_DIR": str(self.root.parent / "system"),
        }
        return kept | own | AUTHOR

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start `command`, its two streams merged."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str) -> tuple[int, str]:
        """The exit code of `command`, and what it prints."""
        with self.start(*command) as process:
            output, _ = process.communicate()
        return process.returncode, output

    def succeeds(self, *command: str) -> str:
        """What `command` prints; it must succeed."""
        code, output = self.run(*command)
        assert code == 0, f"{' '.join(command)} gave {code}:\n{output}"
        return output

    def fails(self, *command: str) -> str:
        """What `command` prints; it must fail."""
        code, output = self.run(*command)
        assert code != 0, f"{' '.join(command)} did not fail:\n{output}"
        return output

    def dvc(self, *arguments: str) -> str:
        """What `dvc` prints; it must succeed."""
        return self.succeeds(sys.executable, "-m", "dvc", *arguments)

    def commit(self) -> None:
        """Commit everything that Git would track."""
        self.succeeds("git", "add", "--all")
        self.succeeds("git", "commit", "--quiet", "--message", "State of the test")

    def change(self, old: str, new: str, file: str = "params.yaml") -> None:
        """Replace the one place of `file` where `old` is."""
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def copy(self, target: Path) -> "Project":
        """The same project, results and DVC's cache included, at `target`."""
        shutil.copytree(self.root, target, symlinks=True)
        return Project(target)


def fresh_project(root: Path) -> Project:
    """A copy of the working tree at `root`, uncommitted edits included, with the tiny preset, committed, not run."""
    for name in demo.files_to_copy():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(paths.ROOT / name, root / name)
    shutil.copyfile(TINY, root / paths.PARAMS.name)
    (root / inputs.FILE.name).unlink(missing_ok=True)  # of other parameters
    renew_inputs(config.load(TINY), root / inputs.FILE.name)
    project = Project(root)
    project.succeeds("git", "init", "--quiet", "--initial-branch", "main")
    project.commit()
    return project


def ran(output: str) -> list[str]:
    """The stages that `dvc repro` ran or, with --dry, would run, in their order."""
    starts = [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]
    return list(dict.fromkeys(starts))


@dataclass(frozen=True)
class SecondRun:
    """What happened on the troubled way to the second project."""

    project: Project
    failed: str
    mended: str
    killed: str
    resumed: str


def run_without_a_hitch(root: Path) -> Project:
    """Run the pipeline from nothing, and commit the results."""
    project = fresh_project(root)
    project.dvc("repro")
    project.commit()
    return project


def run_with_trouble(root: Path) -> SecondRun:
    """Run the same pipeline through an error, a repair and a kill."""
    project = fresh_project(root)
    project.change("folds: 3\n", "folds: 20\n")
    failed = project.fails(sys.executable, "-m", "dvc", "repro", "split")
    project.change("folds: 20\n", "folds: 3\n")
    mended = project.dvc("repro", "split")

    lines = []
    with project.start(sys.executable, "-m", "dvc", "repro") as process:
        for line in process.stdout:
            lines.append(line)
            if "vgg16, fold 2 of 3, epoch 1:" in line:
                kill_all(process.pid)
                break
    return SecondRun(project, failed, mended, "".join(lines), project.dvc("repro"))


def kill_all(pid: int) -> None:
    """Kill a process and all below it, as a power cut does: none of them can put anything in order."""
    top = psutil.Process(pid)
    for process in (top, *top.children(recursive=True)):
        process.kill()


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, SecondRun]:
    """Both runs, at the same time: each uses little more than one core."""
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run_without_a_hitch, tmp_path_factory.mktemp("first") / "project")
        second = pool.submit(run_with_trouble, tmp_path_factory.mktemp("second") / "a folder of another name")
        return first.result(), second.result()


@pytest.fixture(scope="session")
def finished(runs: tuple[Project, SecondRun]) -> Project:
    """The project of the first run, its results committed. Not to be changed: see `working_copy`."""
    return runs[0]


@pytest.fixture(scope="session")
def second(runs: tuple[Project, SecondRun]) -> SecondRun:
    """The second run and what it printed."""
    return runs[1]


@pytest.fixture
def working_copy(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, to be changed."""
    return finished.copy(tmp_path / "project")
