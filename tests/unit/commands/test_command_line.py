"""One command: its subcommands, what they import, and what becomes of them in a pipe."""

import shlex
import subprocess
import sys

import numpy as np
import pytest

from skinlesions import __main__ as main
from skinlesions.core import paths
from skinlesions.data import isic_csv


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "skinlesions", *map(str, arguments)]


def test_every_module_of_the_commands_that_runs_is_a_subcommand():
    modules = {path.stem.replace("_", "-") for path in (paths.ROOT / "skinlesions" / "commands").glob("*.py")}
    assert modules - set(main.COMMANDS) == {"--init--", "pipeline"}


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_subcommand_has_help_of_its_own(name, capsys):
    with pytest.raises(SystemExit) as end:
        main.run([name, "--help"])
    assert end.value.code == 0
    output = capsys.readouterr().out
    assert output.startswith(f"usage: skinlesions {name}") and main.command_module(name).__doc__.strip() in output


def test_without_a_subcommand_or_with_a_wrong_one_all_are_named(capsys):
    for arguments in ([], ["verfiy"]):
        with pytest.raises(SystemExit) as end:
            main.run(arguments)
        assert end.value.code == 2
    message = capsys.readouterr().err
    assert all(name in message for name in main.COMMANDS)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_no_subcommand_starts_keras_before_it_must(name):
    heavy = {"keras", "tensorflow", "torch", "jax", *(("dvc", "matplotlib") if name == "verify" else ())}
    code = (
        f"import sys; from skinlesions.__main__ import command_module; command_module({name!r}); "
        f"print(*{heavy} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_fault_of_the_user_has_no_traceback():
    done = subprocess.run(
        command("evaluate", "absent.csv", "absent.csv"), cwd=paths.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.startswith("error: absent.csv") and "Traceback" not in done.stderr


@pytest.fixture
def predictions(tmp_path):
    names = [f"image{number}" for number in range(21)]
    isic_csv.write(tmp_path / "one hot.csv", names, np.eye(7)[np.arange(21) % 7])
    return tmp_path / "one hot.csv"


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["evaluate", "{0}", "{0}"], ["status"]])
@pytest.mark.parametrize("streams", ["", " 2>&1"])
def test_a_reader_that_stops_early_is_no_fault(predictions, arguments, streams):
    """The reader closes the pipe before the first byte is written, which is the hardest case of `| head -1`."""
    words = shlex.join(command(*(argument.format(predictions) for argument in arguments)))
    script = f"({{ {words}; echo $? >&3; }}{streams} | true) 3>&1"
    done = subprocess.run(["sh", "-c", script], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.stderr == ""
    # argparse prints help and lets it pass where that fails at once.
    assert done.stdout.strip() in ("141", "0" if "--help" in arguments else "141")


def test_a_reader_of_one_line_gets_it(predictions):
    script = f"{shlex.join(command('evaluate', predictions, predictions, '--resamples', 10))} | head -1"
    done = subprocess.run(["sh", "-c", script], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("21 images; ") and done.stdout.count("\n") == 1 and done.stderr == ""
