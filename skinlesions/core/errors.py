"""Errors that a user can mend: shown as one message, without a traceback."""

import signal
import sys
from collections.abc import Callable


class UserError(Exception):
    """Bad input. The message names the file, row or key, says what was expected, and what to do."""


def run_main(main: Callable[[], None]) -> None:
    """Call `main`; a UserError ends the process with exit code 1 and the bare message, an interrupt with one line."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr, flush=True)
        sys.exit(128 + signal.SIGINT)
