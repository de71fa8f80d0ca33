"""Processes whose parent is killed: they end, with all that they have started."""

import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest

# Longer than any of it takes; a process that is still there then will stay.
PATIENCE = 60

# Says who it is, and waits for the end of its standard input, which nobody closes.
WAITING = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"

# Starts one such process, and is one itself.
CHILD = f"""
import subprocess, sys
from skinlesions.core import lifeline
lifeline.end_with_parent()
subprocess.Popen([sys.executable, "-c", {WAITING!r}], stdin=subprocess.PIPE)
{WAITING}
"""

PARENT = """
import subprocess, sys
with subprocess.Popen([*sys.argv[1:]], stdin=subprocess.PIPE):
    pass
"""

# Workers of joblib, as the comparison of images has them, that say who they are and wait.
WORKERS = """
import sys
import numpy as np
from skinlesions.data import duplicates

def waiting(*_):
    import os, threading
    print(os.getpid(), flush=True)
    threading.Event().wait()

duplicates._keypoints_of = waiting
duplicates.measured(sys.argv[1], np.array([[0, 1]]), 1)
"""


@contextmanager
def started(number: int, *command: str):
    """A parent of `command`, below which `number` processes say who they are, and these processes."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        below = [psutil.Process(int(parent.stdout.readline())) for _ in range(number)]
        try:
            yield parent, below
        finally:
            parent.kill()
            for process in below:
                if process.is_running():
                    process.kill()


def left(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of `processes` that do not end."""
    return psutil.wait_procs(processes, timeout=PATIENCE)[1]


@pytest.mark.parametrize("through", [(), ("sh", "-c", '"$@"; true', "sh")], ids=["a child", "below a shell"])
def test_a_process_ends_with_its_parent_and_takes_with_it_what_it_has_started(through):
    command = [sys.executable, "-c", PARENT, *through, sys.executable, "-c", CHILD]
    with started(2, *command) as (parent, below):
        parent.kill()
        assert left(below) == []


def test_a_process_whose_parent_lives_goes_on():
    code = "import threading\nfrom skinlesions.core import lifeline\nlifeline.INTERVAL = 0.001\n"
    code += "seen = threading.Event()\nlook = lifeline._is_whole\n"
    code += "def whole(line, looks=[]):\n    looks.append(look(line))\n    len(looks) > 9 and seen.set()\n"
    code += "    return looks[-1]\nlifeline._is_whole = whole\nlifeline.end_with_parent()\nseen.wait()\nprint('done')\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_module_is_run_as_python_runs_it(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    command = [sys.executable, "-m", "skinlesions.core.lifeline", str(psutil.Process().pid), "json.tool", "--compact"]
    done = subprocess.run([*command, tmp_path / "a.json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[1]\n")
    assert subprocess.run([*command, tmp_path / "none"], capture_output=True, check=False).returncode != 0


def test_a_module_whose_parent_is_dead_already_does_not_run_on():
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    command = [sys.executable, "-m", "skinlesions.core.lifeline", str(dead.pid), "http.server", "0"]
    assert subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE).returncode == -9


def test_workers_of_joblib_end_with_the_stage(tmp_path):
    with started(1, sys.executable, "-c", WORKERS, str(tmp_path)) as (parent, below):
        parent.kill()
        assert left(below) == []
