"""Stages that are killed at work, at a moment that does not hang on how fast the machine is."""

import sys

SCRIPT = """
import importlib, os, signal, sys
from skinlesions.core.progress import Progress

steps = int(sys.argv.pop(1))
module = sys.argv.pop(1)
taken = []
advance = Progress.advance

def advance_and_die(self, amount=1):
    advance(self, amount)
    taken.append(amount)
    if len(taken) == steps:
        os.kill(os.getpid(), signal.SIGKILL)

Progress.advance = advance_and_die
importlib.import_module(module).main()
"""


def killed_after(steps: int, stage: str, *arguments: str) -> list[str]:
    """The command that runs a stage and kills it, by SIGKILL, once its progress has advanced `steps` times."""
    return [sys.executable, "-c", SCRIPT, str(steps), f"skinlesions.stages.{stage}", *arguments]
