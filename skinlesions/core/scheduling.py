"""Commands that need each other's results, side by side as far as they do not; all of them end with this process."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

# Seconds after which a wait begins anew: a signal that arrives just before it would not end it.
PATIENCE = 1.0


class Processes:
    """Processes in groups of their own, so that each can be interrupted with all that it has started."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._ended = False

    def run(self, command: list[str], log: Callable[[str], None] | None = None, **options: Any) -> int:
        """The exit code of `command`; not 0 if all were told to end before it began.

        Args:
            command: the program and its arguments.
            log: is given every line that it prints; None: it prints where this process does.
            options: of subprocess.Popen.
        """
        streams = {} if log is None else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with self._lock:
            if self._ended:
                return 128 + signal.SIGINT
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                process_group=0,
                encoding="utf-8",
                errors="replace",
                **streams,  # type: ignore[call-overload]
                **options,
            )
            self._running.add(process)
        with process:
            for line in process.stdout or ():
                if log is not None:
                    log(line)
        with self._lock:
            self._running.discard(process)
        code: int = process.returncode
        return code

    def end(self, number: int) -> None:
        """Send the signal `number` to all that run, and let none begin any more."""
        with self._lock:
            self._ended = True
            for process in self._running:
                with suppress(ProcessLookupError):  # it ended in this moment
                    os.killpg(process.pid, number)


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Within the block, requests to end this process are exceptions, as an interrupt is."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(needs: Mapping[str, set[str]], work: Callable[[str, Processes], bool], jobs: int) -> list[str]:
    """Do `work` for every name, after all that it needs, up to `jobs` at a time.

    A failure lets what runs finish, and nothing new begin. An interrupt of this process is passed on to what runs, and
    the call ends when that has ended; a second one kills it.

    Args:
        needs: what must be done before each name; names that are only needed count as well.
        work: whether it succeeded; called in threads, to start its processes by what it is given.
        jobs: how many at a time.

    Returns:
        The names whose work failed.
    """
    order = TopologicalSorter(needs)
    order.prepare()
    ready: list[str] = []
    failed: list[str] = []
    running: dict[Future[bool], str] = {}
    processes = Processes()
    with _signals_as_exceptions(), ThreadPoolExecutor(jobs) as pool:
        try:
            while order.is_active():
                ready += order.get_ready()
                while ready and not failed and len(running) < jobs:
                    name = ready.pop(0)
                    running[pool.submit(work, name, processes)] = name
                if not running:
                    break
                for future in wait(running, PATIENCE, FIRST_COMPLETED).done:
                    name = running.pop(future)
                    if future.result():
                        order.done(name)
                    else:
                        failed.append(name)
        except BaseException:
            _end(processes, running)
            raise
    return failed


def _end(processes: Processes, running: Mapping[Future[bool], str]) -> None:
    """Interrupt what runs and wait for its end; whoever cannot wait interrupts again, which kills it."""
    processes.end(signal.SIGINT)
    try:
        while wait(running, PATIENCE).not_done:
            pass
    except BaseException:
        processes.end(signal.SIGKILL)
        raise


def logged(command: list[str], name: str, log: Path, processes: Processes, **options: Any) -> bool:
    """Run `command`; what it prints goes to the file `log`, and to the terminal with `name` before every line.

    Returns:
        Whether it succeeded.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:

        def write(line: str) -> None:
            stream.write(line)
            stream.flush()
            # In one piece: lines of several threads must not mix.
            print(f"{name} | {line.rstrip()}\n", end="", flush=True)

        return processes.run(command, write, **options) == 0
