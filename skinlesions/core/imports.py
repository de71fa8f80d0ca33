"""Which files of this project a piece of Python imports: what a result depends on beside its data."""

import ast
import sys
from collections.abc import Iterable
from pathlib import Path

from skinlesions.core import environment, paths

# What Keras computes by is recorded under one name, whichever it is: environment.BACKEND.
BACKENDS = {"tensorflow", "jax", "torch"}

# Read by every stage and by nothing that computes: left out, so that a new key for one stage renews no other.
PLUMBING = ("skinlesions/core/", "skinlesions/stages/notebook.py")


def module_file(name: str) -> str | None:
    """The file of the module `name`, relative to the repository; None for a package or a module from outside."""
    path = f"{name.replace('.', '/')}.py"
    return path if name.startswith("skinlesions.") and (paths.ROOT / path).is_file() else None


def imported(code: str) -> set[str]:
    """The files of this project that Python `code` imports, inside functions as well, but for the plumbing.

    Raises:
        ValueError: an import is relative; the project writes them in full.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError("a relative import")
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {file for name in names if (file := module_file(name)) and not file.startswith(PLUMBING)}


def packages(code: str) -> set[str]:
    """The packages from outside that Python `code` imports, inside functions as well; the standard library left out."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            modules.add(node.module.partition(".")[0])
    found = {environment.package(module) for module in modules - sys.stdlib_module_names - BACKENDS}
    return {name for name in found if name is not None}


def closure(files: Iterable[str]) -> list[Path]:
    """`files`, relative to the repository, and every file that they import or that those import, sorted."""
    known: set[str] = set()
    waiting = set(files)
    while waiting:
        file = waiting.pop()
        known.add(file)
        waiting |= imported((paths.ROOT / file).read_text(encoding="utf-8")) - known
    return [paths.ROOT / file for file in sorted(known)]
