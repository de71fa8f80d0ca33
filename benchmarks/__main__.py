"""Runs the benchmarks, writes their tables into benchmarks/README.md: `python -m benchmarks [NAME ...] [--quick]`."""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path

import pandas as pd

from benchmarks.measurement import markdown, measure
from skinlesions.core import files
from skinlesions.core.errors import UserError, run_main
from skinlesions.report.provenance import hardware

NAMES = ("prepare", "features", "heads", "training", "bootstrap", "coverage", "pipeline")
PACKAGES = ("tensorflow", "keras", "pillow", "numpy", "scikit-learn", "dvc")
PAGE = Path(__file__).with_name("README.md")


def measured(name: str, quick: bool) -> dict[str, pd.DataFrame]:
    """The tables of the benchmark `name`, from a process of its own: none inherits another's memory or settings."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, name, quick).result()


def block(tables: dict[str, pd.DataFrame]) -> str:
    """What is written into the page: each table under its title, and what it was measured on."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    parts = [f"{title}:\n\n{markdown(table)}" for title, table in tables.items()]
    return "\n\n".join([*parts, f"Measured on: {hardware()}; {versions}."])


def updated(page: str, name: str, text: str) -> str:
    """`page` with `text` between the two marks of the benchmark `name`.

    Raises:
        UserError: the page lacks the marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise UserError(f"benchmarks/README.md has no {begin} ... {end}; put these two lines where the table belongs")
    return f"{before}{begin}\n{text}\n{end}{after}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run, all if none: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that they run; writes nothing")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(NAMES)):
        raise UserError(f"unknown benchmark {', '.join(unknown)}; known: {', '.join(NAMES)}")
    for name in arguments.names or NAMES:
        text = block(measured(name, arguments.quick))
        print(f"\n{name}\n\n{text}\n", flush=True)
        if not arguments.quick:
            files.write_text(PAGE, updated(PAGE.read_text(encoding="utf-8"), name, text))


if __name__ == "__main__":
    run_main(main)
