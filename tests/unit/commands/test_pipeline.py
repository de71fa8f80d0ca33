"""Stages side by side, in a small pipeline of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from skinlesions.commands import pipeline
from skinlesions.core import paths
from skinlesions.core.errors import UserError

PIPELINE = """
stages:
  images:
    cmd: mkdir -p data && cp raw.txt data/images.txt
    deps: [raw.txt]
    outs: [data/images.txt]
  features:
    foreach: [vgg16, resnet50]
    do:
      cmd: echo ${item} >> started.txt; cat data/images.txt ${item}.txt > data/features_${item}.txt
      deps: [data/images.txt, "${item}.txt"]
      outs: ["data/features_${item}.txt"]
  train:
    foreach: [vgg16, resnet50]
    do:
      cmd: mkdir -p data/train && cp data/features_${item}.txt data/train/${item}.txt
      deps: ["data/features_${item}.txt"]
      outs: ["data/train/${item}.txt"]
  report:
    cmd: mkdir reports && cat data/train/*.txt > reports/page.txt
    deps: [data/train/vgg16.txt, data/train/resnet50.txt]
    outs: [reports: {cache: false}]
"""


@pytest.fixture
def root(tmp_path) -> Path:
    """The pipeline, not run."""
    root = tmp_path / "a folder é"
    (root / ".dvc").mkdir(parents=True)
    for name, text in (
        (".dvc/config", "[core]\n    no_scm = true\n    analytics = false\n"),
        ("dvc.yaml", PIPELINE),
        ("raw.txt", "raw"),
        ("vgg16.txt", "one"),
        ("resnet50.txt", "two"),
    ):
        (root / name).write_text(text, encoding="utf-8")
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in ("data", "reports")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def lock(root: Path) -> dict:
    return yaml.safe_load((root / "dvc.lock").read_text())


def started(root: Path) -> list[str]:
    return sorted((root / "started.txt").read_text().split())


def test_any_number_of_jobs_gives_the_same_files_and_the_same_lock(root, tmp_path, capfd):
    other = tmp_path / "other"
    shutil.copytree(root, other)
    pipeline.repro(root)
    pipeline.repro(other, jobs=3)
    assert contents(root) == contents(other) and lock(root) == lock(other)
    assert pipeline.waiting(other) == {}
    output = capfd.readouterr().out
    for stage in ("images", "train@vgg16", "report"):
        log = (other / "logs" / "stages" / f"{stage}.log").read_text()
        assert f"Running stage '{stage}'" in log
        assert all(f"{stage} | {line}" in output for line in log.splitlines())


def test_what_is_up_to_date_is_not_run_again(root):
    pipeline.repro(root, jobs=2)
    shutil.rmtree(root / "logs")
    pipeline.repro(root, jobs=2)
    assert not (root / "logs").exists()
    (root / "vgg16.txt").write_text("three")
    pipeline.repro(root, jobs=2)
    assert started(root) == ["resnet50", "vgg16", "vgg16"]
    assert (root / "reports" / "page.txt").read_text() == "rawtworawthree"


def test_a_stage_that_fails_is_named_with_its_log_and_the_same_command_goes_on(root):
    (root / "vgg16.txt").unlink()
    (root / "vgg16.txt").mkdir()
    with pytest.raises(UserError, match=r"features@vgg16 failed; .*logs/stages/features@vgg16\.log says why"):
        pipeline.repro(root, jobs=2)
    assert "Is a directory" in (root / "logs" / "stages" / "features@vgg16.log").read_text()
    assert (root / "data" / "features_resnet50.txt").exists() and not (root / "reports").exists()
    (root / "vgg16.txt").rmdir()
    (root / "vgg16.txt").write_text("one")
    pipeline.repro(root, jobs=2)
    assert started(root) == ["resnet50", "vgg16", "vgg16"]
    assert (root / "reports" / "page.txt").read_text() == "rawtworawone"


@pytest.mark.parametrize("jobs", [1, 2])
def test_after_an_interrupt_the_same_command_goes_on(root, jobs):
    """A stage that reads a pipe waits until somebody writes: it is surely interrupted at work."""
    for name in ("vgg16.txt", "resnet50.txt"):
        (root / name).unlink()
        os.mkfifo(root / name)
    text = (root / "dvc.yaml").read_text()
    (root / "dvc.yaml").write_text(text.replace(' "${item}.txt"]', "]").replace("echo", "echo begun >&2; echo"))
    code = (
        "import sys; from pathlib import Path; from skinlesions.commands import pipeline;"
        "from skinlesions.core.errors import run_main;"
        "run_main(lambda: pipeline.repro(Path(sys.argv[1]), jobs=int(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, str(root), str(jobs)]
    with subprocess.Popen(
        command, cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            begun = 0
            while begun < jobs:
                line = process.stdout.readline()
                assert line, "it ended before all had begun"
                begun += line.rstrip().endswith("begun")
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGINT and "Traceback" not in output
    assert lock(root)["stages"].keys() == {"images"}
    for name in ("vgg16.txt", "resnet50.txt"):
        (root / name).unlink()
        (root / name).write_text(name[0])
    pipeline.repro(root, jobs=jobs)
    assert (root / "reports" / "page.txt").read_text() == "rawrrawv"


@pytest.mark.parametrize("left", ["a live process of another program", "a dead one", "half a file"])
def test_what_a_crash_has_left_blocks_nothing(root, left):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    number = process.pid if left == "a dead one" else os.getppid()
    path = str(root / "data" / "images.txt")
    text = json.dumps({"write": {path: {"pid": number, "cmd": "dvc repro"}}, "read": {}})
    (root / ".dvc" / "tmp").mkdir()
    (root / ".dvc" / "tmp" / "rwlock").write_text(text[:9] if left == "half a file" else text)
    pipeline.repro(root)
    assert (root / "reports" / "page.txt").exists()


def test_a_second_run_is_told_of_the_first(root):
    with (
        pipeline.alone(root),
        pytest.raises(UserError, match=rf"process {os.getpid()} on .* since"),
        pipeline.alone(root),
    ):
        pass
