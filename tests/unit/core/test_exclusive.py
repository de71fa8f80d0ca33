"""A lock that one process holds at a time, however the last one ended."""

import os
import subprocess
import sys

import pytest

from skinlesions.core import paths
from skinlesions.core.errors import UserError
from skinlesions.core.exclusive import alone

HOLD = """
import sys
from pathlib import Path
from skinlesions.core.exclusive import alone
with alone(Path(sys.argv[1]), "a run"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "a folder" / "run.lock"


def test_one_after_the_other_may(file):
    for _ in range(2):
        with alone(file, "a run"):
            assert str(os.getpid()) in file.read_text()


def test_a_second_process_is_told_which_is_the_first_and_a_kill_leaves_nothing_behind(file):
    command = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(command, cwd=paths.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=rf"a run is already going on: process {first.pid} on .*, since 2\d\d\d-"),
            alone(file, "a run"),
        ):
            pass
        first.kill()
    assert str(first.pid) in file.read_text()
    with alone(file, "a run"):
        pass


def test_an_error_in_the_block_gives_it_back(file):
    with pytest.raises(ZeroDivisionError), alone(file, "a run"):
        1 / 0  # noqa: B018
    with alone(file, "a run"):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_holder_that_has_not_said_who_it_is_still_holds(file, text):
    with alone(file, "a run"):
        file.write_text(text)
        with pytest.raises(UserError, match="another process"), alone(file, "a run"):
            pass
