"""Progress on stderr: a bar on a terminal, a line now and then in a log."""

import io
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

# How often a log gets a line, in seconds.
LOG_INTERVAL = 10.0


class Progress:
    """Counts `total` units of work under the name `label`; `unit` is "images", say, or "bytes", shown in megabytes.

    The last state is always written when the block ends, so that a log shows how far a failed run came.
    """

    def __init__(self, label: str, total: int, unit: str = "images", done: int = 0) -> None:
        """Start at `done` of `total`; what is already done does not count towards the speed."""
        self._terminal = sys.stderr.isatty()
        self._written = time.monotonic()
        self._bar = tqdm(
            desc=label,
            total=total,
            initial=done,
            unit="B" if unit == "bytes" else f" {unit}",
            unit_scale=unit == "bytes",
            file=sys.stderr if self._terminal else io.StringIO(),  # a log wants no bar that is drawn over itself
            miniters=1,
        )

    def __enter__(self) -> Self:
        """Begin the block whose end writes the last state."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write the last state."""
        self._bar.close()
        self._log()

    def advance(self, amount: int = 1) -> None:
        """Count `amount` more units."""
        self._bar.update(amount)
        if time.monotonic() - self._written >= LOG_INTERVAL:
            self._log()

    def set(self, done: int) -> None:
        """Jump to `done` units, as after a restart."""
        self._bar.initial = done
        self._bar.reset()
        self._bar.n = self._bar.last_print_n = done

    def _log(self) -> None:
        self._written = time.monotonic()
        if not self._terminal:
            print(self._bar, file=sys.stderr, flush=True)
