"""make works wherever the project lies: its recipes name no folder that a shell or make itself could cut."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from skinlesions.core import paths

NEEDED = ("Makefile", "pyproject.toml", *(path.name for path in paths.ROOT.glob("requirements*.txt")))


def make(folder: Path, *arguments: str) -> str:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", *arguments], cwd=folder, env=outside, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "ein Ordner für 1"
    folder.mkdir()
    for name in NEEDED:
        shutil.copy(paths.ROOT / name, folder)
    return folder


def test_in_a_folder_of_any_name_the_commands_are_the_same(elsewhere):
    planned = make(elsewhere, "-n", "DEVICE=cpu", "help", "setup", "test", "report")
    assert "requirements.txt" in planned and "-m pytest" in planned and "-m skinlesions report" in planned
    assert str(elsewhere) not in planned and "Ordner" not in planned
    (elsewhere.parent / "plain").mkdir()
    for name in NEEDED:
        shutil.copy(elsewhere / name, elsewhere.parent / "plain")
    assert make(elsewhere.parent / "plain", "-n", "DEVICE=cpu", "help", "setup", "test", "report") == planned


def test_what_is_installed_is_not_installed_again(elsewhere):
    (elsewhere / ".venv").mkdir()
    for stamp in (".requirements.txt", ".installed", ".installed-test"):
        (elsewhere / ".venv" / stamp).touch()
    assert "pip install" not in make(elsewhere, "-n", "DEVICE=cpu", "setup", "test")
    assert "requirements-gpu.txt" in make(elsewhere, "-n", "DEVICE=gpu", "setup")


def test_tables_are_recomputed_in_the_environment_that_is_there_or_in_a_light_one(elsewhere):
    assert "requirements-verify.txt" in make(elsewhere, "-n", "verify")
    (elsewhere / ".venv").mkdir()
    (elsewhere / ".venv" / ".installed").touch()
    assert "pip install" not in make(elsewhere, "-n", "verify")


@pytest.mark.parametrize(
    ("driver", "arguments", "file"),
    [
        ("exit 0", [], "requirements-gpu.txt"),
        ("exit 9", [], "requirements.txt"),
        ("exit 0", ["DEVICE=cpu"], "requirements.txt"),
        ("exit 9", ["DEVICE=gpu"], "requirements-gpu.txt"),
        ("exit 0", ["BACKEND=jax"], "requirements-gpu-jax.txt"),
        ("exit 9", ["BACKEND=jax"], "requirements.txt"),
    ],
)
def test_the_gpu_is_found_where_its_driver_answers(elsewhere, tmp_path, monkeypatch, driver, arguments, file):
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{driver}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    installed = re.findall(r"-r (requirements\S*)", make(elsewhere, "-n", "setup", *arguments))
    assert installed == [file]


def test_a_gpu_has_the_packages_of_every_machine_in_the_same_versions():
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[a-z0-9.-]+==\S+", (paths.ROOT / name).read_text(), re.MULTILINE))

    for name in ("requirements-gpu.txt", "requirements-gpu-jax.txt"):
        assert pins("requirements.txt") <= pins(name)
        more = {pin.split("==")[0] for pin in pins(name) - pins("requirements.txt")}
        assert more and all(package.startswith(("nvidia-", "jax", "opt-einsum")) for package in more)


def test_without_a_target_every_command_is_listed(elsewhere):
    listed = make(elsewhere)
    phony = next(line for line in (elsewhere / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    assert sorted(line.split()[1] for line in listed.splitlines()) == sorted(phony.split()[1:])
