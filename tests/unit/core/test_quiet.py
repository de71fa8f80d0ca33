"""TensorFlow's start-up lines, in processes of their own: they go, everything else stays."""

import os
import subprocess
import sys

import pytest

from skinlesions.core import paths

# As a C++ library writes: around Python's stderr.
DURING = (
    "with quiet.without_lines(['known']):\n"
    "    os.write(2, b'a known line\\nanother\\n'); print('mine', file=sys.stderr)"
)


def run(code: str, **variables: str) -> subprocess.CompletedProcess:
    """`code` in a fresh process, with no level of logging set."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"} | variables
    command = [sys.executable, "-c", f"import os, sys\nfrom skinlesions.core import quiet\n{code}"]
    return subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_known_lines_go_and_others_stay_in_their_order():
    finished = run(f"{DURING}\nos.write(2, b'a known line\\n')")
    assert finished.stderr == "another\nmine\na known line\n"


@pytest.mark.parametrize("death", ["os.abort()", "os.kill(os.getpid(), 9)", "raise SystemExit(3)", "1 / 0"])
def test_the_last_words_of_a_dying_process_arrive(death: str):
    finished = run(f"{DURING}\n    os.write(2, b'fatal\\n')\n    {death}")
    assert finished.stderr.startswith("another\nmine\nfatal\n") and finished.returncode != 0


def test_importing_keras_with_tensorflow_and_computing_says_nothing():
    pytest.importorskip("tensorflow")
    code = "import skinlesions.models.heads, keras; keras.ops.matmul([[1.0]], [[1.0]])"
    finished = run(code, KERAS_BACKEND="tensorflow")
    assert (finished.stderr, finished.returncode) == ("", 0)


def test_a_tensorflow_that_cannot_be_loaded_fails_as_without_the_filter(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no such instruction')", encoding="utf-8")
    finished = run("import tensorflow", PYTHONPATH=str(tmp_path))
    assert "ImportError: no such instruction" in finished.stderr


def test_tensorflow_is_not_needed():
    code = "sys.path.clear(); import importlib.util; assert importlib.util.find_spec('tensorflow') is None"
    assert run(code).returncode == 0
