"""One command with a subcommand for each thing that is done by hand: `skinlesions`, or `python -m skinlesions`.

Each subcommand is a module of skinlesions.commands that offers `configure(parser)`, which adds its arguments, and
`run(arguments)`. Only the module of the one that is asked for is imported, so that help comes at once.
"""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

from skinlesions.core.errors import run_main

COMMANDS = {
    "demo": "run the whole pipeline on a synthetic sample, in a copy of the project",
    "check": "say whether params.yaml is valid, and whether what it asks for can be had",
    "status": "say which stages are not up to date with the code, the parameters and the data",
    "report": "regenerate the report from the images, and renew the README's results",
    "verify": "recompute the published tables from the published predictions",
    "check-report": "check that the published report is whole and agrees with itself",
    "readme": "renew the README's results from the published report",
    "params": "write presets into params.yaml",
    "environment": "renew environment.yaml and inputs.yaml from the packages and files that are here",
    "predict": "predict images of your own with the published model, or with trained ones",
    "evaluate": "score predictions of any method on images with known diagnoses",
    "audit": "say what of the tested parts of a split was seen in training",
}


def command_module(name: str) -> ModuleType:
    """The module of skinlesions.commands that is the subcommand `name`."""
    return importlib.import_module(f"skinlesions.commands.{name.replace('-', '_')}")


def command_line(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command line: of all subcommands the names, and of the one asked for its arguments."""
    parser = argparse.ArgumentParser(prog="skinlesions", description="Skin-lesion classification on HAM10000.")
    subparsers = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    asked_for = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == asked_for:
            module = command_module(name)
            subparser.description = module.__doc__
            module.configure(subparser)
    return parser


def run(arguments: Sequence[str]) -> None:
    """Run the subcommand that the command line `arguments` ask for; bad arguments end the process with exit code 2."""
    chosen = command_line(arguments).parse_args(arguments)
    command_module(chosen.subcommand).run(chosen)


def without_broken_pipes(arguments: Sequence[str]) -> None:
    """`run`, in a pipe whose reader may have enough, such as `head`: then end as other programs do, without a word."""
    try:
        try:
            run_main(lambda: run(arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes both streams again at its end. What is left in them must have somewhere to go.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        sys.exit(128 + signal.SIGPIPE)


def main() -> None:
    """The entry point of the package."""
    without_broken_pipes(sys.argv[1:])


if __name__ == "__main__":
    main()
