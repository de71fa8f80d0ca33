"""Errors that a user can mend: shown as one message, without a traceback."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Bad input. The message names the file, row or key, says what was expected, and what to do."""


def run_main(main: Callable[[], None]) -> None:
    """Call `main`; end the process with exit code 1 and the bare message if it raises a UserError."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
