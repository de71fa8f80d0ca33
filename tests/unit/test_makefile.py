"""make works wherever the project lies: its recipes name no folder that a shell or make itself could cut."""

import shutil
import subprocess
from pathlib import Path

import pytest

from skinlesions.core import paths

NEEDED = ("Makefile", "pyproject.toml", "requirements.txt", "requirements-test.txt")


def make(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True)
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
    planned = make(elsewhere, "-n", "help", "setup", "test", "report")
    assert "requirements.txt" in planned and "-m pytest" in planned and "-m skinlesions report" in planned
    assert str(elsewhere) not in planned and "Ordner" not in planned
    (elsewhere.parent / "plain").mkdir()
    for name in NEEDED:
        shutil.copy(elsewhere / name, elsewhere.parent / "plain")
    assert make(elsewhere.parent / "plain", "-n", "help", "setup", "test", "report") == planned


def test_what_is_installed_is_not_installed_again(elsewhere):
    (elsewhere / ".venv").mkdir()
    for stamp in (".requirements", ".installed", ".installed-test"):
        (elsewhere / ".venv" / stamp).touch()
    assert "pip install" not in make(elsewhere, "-n", "setup", "test")


def test_without_a_target_every_command_is_listed(elsewhere):
    listed = make(elsewhere)
    phony = next(line for line in (elsewhere / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    assert sorted(line.split()[1] for line in listed.splitlines()) == sorted(phony.split()[1:])
