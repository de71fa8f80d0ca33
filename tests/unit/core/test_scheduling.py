"""Work that needs other work: its order, its failures, its interruption."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from skinlesions.core import paths, scheduling

NEEDS = {"a": set(), "b": set(), "c": {"a", "b"}, "d": {"a"}, "e": {"c", "d"}}


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_everything_is_done_once_and_after_what_it_needs(jobs):
    done: list[str] = []

    def work(name, _):
        assert NEEDS[name] <= set(done)
        done.append(name)
        return True

    assert scheduling.run(NEEDS, work, jobs) == []
    assert sorted(done) == sorted(NEEDS)


def test_what_does_not_need_each_other_runs_at_the_same_time():
    meeting = threading.Barrier(2, timeout=60)

    def work(name, _):
        if name in "ab":
            meeting.wait()
        return True

    assert scheduling.run(NEEDS, work, 2) == []


def test_no_more_than_the_number_of_jobs_run_at_a_time():
    running, most, lock = set(), [], threading.Lock()

    def work(name, _):
        with lock:
            running.add(name)
            most.append(len(running))
        subprocess.run([sys.executable, "-c", ""], check=True)
        with lock:
            running.remove(name)
        return True

    scheduling.run({str(number): set() for number in range(9)}, work, 3)
    assert max(most) <= 3


def test_after_a_failure_what_runs_finishes_and_nothing_begins():
    failed, done = threading.Event(), []

    def work(name, _):
        if name == "a":
            failed.set()
            return False
        failed.wait(60)
        done.append(name)
        return True

    assert scheduling.run(NEEDS | {"later": set()}, work, 2) == ["a"]
    assert done == ["b"]


def test_an_error_in_the_work_is_raised():
    with pytest.raises(ZeroDivisionError):
        scheduling.run(NEEDS, lambda *_: 1 / 0, 2)


def test_a_log_has_what_both_streams_say_and_the_terminal_the_name_too(tmp_path, capsys):
    code = "import sys; print('one'); sys.stdout.flush(); print('twö', file=sys.stderr); sys.exit(3)"
    log = tmp_path / "logs" / "train@a.log"
    assert not scheduling.logged([sys.executable, "-X", "utf8", "-c", code], "train@a", log, scheduling.Processes())
    assert log.read_text(encoding="utf-8") == "one\ntwö\n"
    assert capsys.readouterr().out == "train@a | one\ntrain@a | twö\n"


INTERRUPTED = """
import sys
from skinlesions.core import scheduling

# A process below the process, as a stage is below DVC, which ignores interrupts itself.
BELOW = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    "print('begun', flush=True); open(sys.argv[1]).read()"
)
ABOVE = (
    "import signal, subprocess, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
    "own = lambda: signal.signal(signal.SIGINT, signal.default_int_handler);"
    "below = subprocess.Popen(sys.argv[1:], preexec_fn=own);"
    "below.wait(); print('ended', flush=True)"
)

def work(name, processes):
    command = [sys.executable, "-c", ABOVE, sys.executable, "-c", BELOW, sys.argv[1]]
    return processes.run(command, lambda line: print(f"{name} {line}", end="", flush=True)) == 0

scheduling.run({"a": set(), "b": set(), "c": {"a"}}, work, 2)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_reaches_all_that_runs_and_waits_for_its_end(tmp_path, number):
    pipe = tmp_path / "pipe"
    subprocess.run(["mkfifo", pipe], check=True)
    command = [sys.executable, "-c", INTERRUPTED, str(pipe)]
    with subprocess.Popen(
        command, cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert sorted(process.stdout.readline() for _ in range(2)) == ["a begun\n", "b begun\n"]
            process.send_signal(number)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    lines = output.splitlines()
    assert {"a ended", "b ended"} <= set(lines) and not any(line.startswith("c") for line in lines)
    assert process.returncode != 0 and Path(pipe).exists()
