import io
import sys
import time

import pytest

from skinlesions.core import progress
from skinlesions.core.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_the_last_state_even_when_the_work_fails(capsys):
    with pytest.raises(RuntimeError), Progress("stage", 10) as bar:
        for _ in range(4):
            bar.advance()
        raise RuntimeError
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stage:  40%") and "4/10" in line and "images/s" in line


def test_a_log_gets_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0.05)
    with Progress("stage", 3) as bar:
        for _ in range(3):
            time.sleep(0.06)
            bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and all(f"{done}/3" in line for done, line in zip((1, 2, 3, 3), lines, strict=True))


def test_megabytes_after_a_restart(capsys):
    with Progress("file.zip", 4_000_000, "bytes", done=1_000_000) as bar:
        bar.advance(500_000)
        bar.set(0)
        bar.advance(4_000_000)
    error = capsys.readouterr().err
    assert "file.zip: 100%" in error and "4.00M/4.00M" in error


def test_a_terminal_gets_one_line(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress("stage", 3) as bar:
        for _ in range(3):
            bar.advance()
    text = sys.stderr.getvalue()
    assert text.count("\n") == 1 and text.endswith("\n") and "3/3" in text.rpartition("\r")[2]


def test_no_work_has_a_last_state_too(capsys):
    with Progress("stage", 0):
        pass
    assert "stage: 0 images" in capsys.readouterr().err
