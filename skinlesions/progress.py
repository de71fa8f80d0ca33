"""A progress line on stderr: rewritten in place on a terminal, one line now and then elsewhere."""

import sys
import time

# Seconds between two writes of the line: on a terminal, and into a log.
TERMINAL_INTERVAL = 0.2
LOG_INTERVAL = 10.0


class Progress:
    """How much of `total` units of work is done, how fast, and how long the rest takes."""

    def __init__(self, label: str, total: int, unit: str, done: int = 0) -> None:
        """Start at `done`, as after a restart: what is already done does not count towards the speed."""
        self.label, self.total, self.unit = label, total, unit
        self._first = done
        self._terminal = sys.stderr.isatty()
        self._started = self._written = time.monotonic()
        self._shown = ""

    def advance_to(self, done: int) -> None:
        """Record that `done` units are done; write the line if it is time, and always at the end."""
        finished = done >= self.total
        now = time.monotonic()
        if not finished and now - self._written < (TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL):
            return
        self._written = now
        seconds = max(now - self._started, 1e-9)
        speed = (done - self._first) / seconds
        text = f"{self.label}: {done:,} of {self.total:,} {self.unit}, {speed:,.3g} {self.unit}/s"
        if finished:
            text += f", {seconds:,.0f} s"
        elif speed > 0:
            text += f", {(self.total - done) / speed:,.0f} s left"
        if self._terminal:
            # Blanks wipe what a longer line before this one left behind.
            print("\r" + text.ljust(len(self._shown)), end="\n" if finished else "", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)
        self._shown = text
