"""TensorFlow's start-up lines, which every stage and every notebook would begin with, kept off the terminal.

TensorFlow writes them from C++ while it is imported, whatever TF_CPP_MIN_LOG_LEVEL says. So a filter stands behind
stderr for as long as that takes. It is a process of its own, as `grep -v` would be: what TensorFlow says before it
aborts, on a processor that it was not compiled for, say, still arrives.
"""

import importlib.abc
import importlib.machinery
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

# What the lines have in common that say nothing: that logging begins, which kernels are used, that there is no GPU.
KNOWN = (
    "All log messages before absl::InitializeLog() is called are written to STDERR",
    "oneDNN custom operations are on.",
    "Could not find cuda drivers on your machine, GPU will not be used.",
)
# Where there is an NVIDIA driver, natively or under Windows, that it fails is worth knowing; elsewhere it always does.
DRIVERS = ("/proc/driver/nvidia", "/dev/dxg")
NO_DRIVER = "failed call to cuInit"

FILTER = """
import sys
for line in sys.stdin.buffer:
    if not any(text.encode() in line for text in sys.argv[1:]):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


@contextmanager
def without_lines(texts: Sequence[str]) -> Iterator[None]:
    """Drop the lines with one of `texts` of what this process, its C++ included, writes to stderr meanwhile."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with subprocess.Popen([sys.executable, "-IS", "-c", FILTER, *texts], stdin=subprocess.PIPE) as behind:
        assert behind.stdin is not None  # a pipe was asked for
        os.dup2(behind.stdin.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)


class QuietImport(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as Python does, and has it loaded without the lines in KNOWN."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The specification of TensorFlow, wherever the other finders find it; None for any other module."""
        if fullname != "tensorflow":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next((spec for finder in others if (spec := finder.find_spec(fullname, path, target))), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_quietly(module: ModuleType) -> None:
                has_driver = any(map(os.path.exists, DRIVERS))
                with without_lines(KNOWN if has_driver else (*KNOWN, NO_DRIVER)):
                    load(module)
                    module.config.list_physical_devices("GPU")  # now, or the first computation complains

            spec.loader.exec_module = load_quietly  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Have TensorFlow imported quietly from now on, and its informative messages, but no warning, left out."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    if not any(isinstance(finder, QuietImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, QuietImport())
