import io
import sys

import pytest

from skinlesions.core.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_the_last_state_even_when_the_work_fails(capsys):
    with pytest.raises(RuntimeError), Progress("stage", 10) as progress:
        for _ in range(4):
            progress.advance()
        raise RuntimeError
    assert capsys.readouterr().err.startswith("stage: 4 of 10 images (40%), ")


def test_megabytes_after_a_restart(capsys):
    with Progress("file.zip", 4_000_000, "bytes", done=1_000_000) as progress:
        progress.advance(500_000)
        progress.set(0)
        progress.advance(4_000_000)
    assert capsys.readouterr().err.startswith("file.zip: 4.0 of 4.0 MB (100%), ")


def test_a_terminal_gets_one_line(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("skinlesions.core.progress.TERMINAL_INTERVAL", 0)
    with Progress("stage", 3) as progress:
        for _ in range(3):
            progress.advance()
    text = terminal.getvalue()
    assert text.count("\n") == 1 and text.endswith("\n")
    assert text.count("\r") == 4


def test_no_work_is_all_done(capsys):
    with Progress("stage", 0):
        pass
    assert "0 of 0 images (100%)" in capsys.readouterr().err
