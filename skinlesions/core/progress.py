"""A progress line on stderr: rewritten in place on a terminal, one line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

# How often the line is written, in seconds: on a terminal, and into a log.
TERMINAL_INTERVAL = 0.2
LOG_INTERVAL = 10.0


class Progress:
    """Counts `total` units of work (`unit`: "images", or "bytes" to be shown in megabytes) under the name `label`.

    The last state is always written when the block ends, so that a log shows how far a failed run came.
    """

    def __init__(self, label: str, total: int, unit: str = "images", done: int = 0) -> None:
        """Start at `done` of `total`; what is already done does not count towards the speed."""
        self.label, self.total, self.unit, self.done = label, total, unit, done
        self._first = done
        self._terminal = sys.stderr.isatty()
        self._started = self._written = time.monotonic()
        self._shown = ""

    def __enter__(self) -> Self:
        """Begin the block whose end writes the last state."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write the last state."""
        self._write(last=True)

    def advance(self, amount: int = 1) -> None:
        """Count `amount` more units, and write the line if it is time."""
        self.done += amount
        if time.monotonic() - self._written >= (TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL):
            self._write(last=False)

    def set(self, done: int) -> None:
        """Jump to `done` units, as after a restart."""
        self.done = self._first = done
        self._started = time.monotonic()

    def _write(self, last: bool) -> None:
        self._written = time.monotonic()
        speed = (self.done - self._first) / max(self._written - self._started, 1e-9)
        share = f"{100 * self.done // self.total}%" if self.total else "100%"
        if self.unit == "bytes":
            text = (
                f"{self.label}: {self.done / 1e6:,.1f} of {self.total / 1e6:,.1f} MB ({share}), {speed / 1e6:.2f} MB/s"
            )
        else:
            text = f"{self.label}: {self.done:,} of {self.total:,} {self.unit} ({share}), {speed:,.0f}/s"
        if self._terminal:
            # Blanks wipe what a longer line before this one left behind.
            print("\r" + text.ljust(len(self._shown)), end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)
        self._shown = text
