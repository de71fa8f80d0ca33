"""Processes that end when their parent has died, however it died: killed by hand or for want of memory, too.

A killed process takes nothing with it. What it had started would compute on, beside the next run.
"""

import os
import runpy
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise

import psutil

# Seconds between two looks at the parent: shorter than it takes to start the next run.
INTERVAL = 0.2

# They start what they are told and may only wait for it, so that their own parent counts as well.
SHELLS = frozenset({"sh", "ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "tcsh", "zsh"})


def end_with_parent(parent: int | None = None) -> None:
    """Kill this process, and end all that it has started, as soon as its parent is dead.

    Calls of a library that do not let other threads run delay the end until they return.

    Args:
        parent: the number of the process that has started this one, where that is known: it may be dead by now.
    """
    line = _line(os.getppid() if parent is None else parent)
    threading.Thread(target=_watch, args=(line,), name="lifeline", daemon=True).start()


def _line(parent: int) -> list[int]:
    """This process, its parent and, as far as these are shells, theirs."""
    line = [os.getpid(), parent]
    with suppress(psutil.Error):  # one of them has just ended, or is nothing that a user may look at
        while (last := psutil.Process(line[-1])).name() in SHELLS:
            line.append(last.ppid())
    return line


def _watch(line: list[int]) -> None:
    while _is_whole(line):
        time.sleep(INTERVAL)
    this = psutil.Process()
    for process in this.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.terminate()  # and not killed: what joblib has in shared memory is cleared by a process that goes on
    this.kill()


def _is_whole(line: list[int]) -> bool:
    """Whether each in the line is still the child of the next: whose parent dies is given to another."""
    with suppress(psutil.NoSuchProcess):
        return all(psutil.Process(child).ppid() == above for child, above in pairwise(line))
    return False


def main() -> None:
    """Run a module as a process that ends with its parent: `python -m skinlesions.core.lifeline PARENT MODULE ...`.

    PARENT is the number of the process that says so; what follows is as after `python -m`.
    """
    end_with_parent(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
