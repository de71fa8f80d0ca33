"""Errors that a user can mend, as they are shown."""

import pytest

from skinlesions.core import errors


def test_an_error_is_one_message_and_what_a_terminal_would_obey_is_written_out(capsys):
    def fail() -> None:
        raise errors.UserError("größe \x1b[2J.csv, line 2\n  \u00a01 fault\x07")

    with pytest.raises(SystemExit) as end:
        errors.run_main(fail)
    assert end.value.code == 1
    assert capsys.readouterr().err == "error: größe \\x1b[2J.csv, line 2\n  \u00a01 fault\\x07\n"


def test_of_many_faults_the_first_are_spelled_out():
    errors.raise_faults("file", [])
    with pytest.raises(errors.UserError, match=r"^file: 1 fault\n  one$"):
        errors.raise_faults("file", ["one"])
    with pytest.raises(errors.UserError) as found:
        errors.raise_faults("file", [f"fault {number}" for number in range(2_000)])
    assert str(found.value).splitlines()[0] == "file: 2,000 faults"
    assert str(found.value).endswith(f"... and {2_000 - errors.SHOWN_FAULTS:,} more")
