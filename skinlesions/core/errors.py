"""Errors that a user can mend: shown as one message, without a traceback."""

import re
import signal
import sys
from collections.abc import Callable, Sequence

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")

# Of many faults so many are spelled out.
SHOWN_FAULTS = 8


class UserError(Exception):
    """Bad input. The message names the file, row or key, says what was expected, and what to do."""


def raise_faults(subject: str, faults: Sequence[str]) -> None:
    """Do nothing without faults; else raise them all, of which the first few are spelled out.

    Raises:
        UserError: there are faults.
    """
    if not faults:
        return
    lines = [f"  {fault}" for fault in faults[:SHOWN_FAULTS]]
    if len(faults) > SHOWN_FAULTS:
        lines.append(f"  ... and {len(faults) - SHOWN_FAULTS:,} more")
    count = "1 fault" if len(faults) == 1 else f"{len(faults):,} faults"
    raise UserError(f"{subject}: {count}\n" + "\n".join(lines))


def visible(text: str) -> str:
    """`text` with control characters, which a terminal would obey, written out; line ends stay."""
    return _CONTROL.sub(lambda found: repr(found.group())[1:-1], text)


def run_main(main: Callable[[], None]) -> None:
    """Call `main`; a UserError ends the process with exit code 1 and the bare message, an interrupt with one line."""
    try:
        main()
    except UserError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr, flush=True)
        sys.exit(128 + signal.SIGINT)
