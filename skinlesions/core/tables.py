"""The registry of the published tables: what each shows, what its columns hold, and which function computes it.

tables.yaml beside this module says so of every table. Notebooks write their tables through `write`, which holds them
against the registry; `verify` recomputes them; `readme` makes the list of them that is published beside them.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from skinlesions.core import files, paths
from skinlesions.core.classes import CLASSES

REGISTRY = Path(__file__).with_name("tables.yaml")

# The name of a column whose names are data.
OPEN = "*"
# The ends of an interval, as they follow the name of the estimate.
ENDS = {"_low": "the lower end of its interval", "_high": "the upper end of its interval"}


@dataclass(frozen=True)
class Table:
    """What is known of a table before it is computed.

    Attributes:
        chapter: the folder that it is in.
        name: of its file, without .csv.
        function: what computes it, as a dotted path.
        caption: what it shows, in one sentence.
        rows: what a row is about.
        columns: what each column holds, by its name and in order; OPEN stands for any number of further ones.
    """

    chapter: str
    name: str
    function: str
    caption: str
    rows: str
    columns: dict[str, str]

    def check(self, found: Iterable[str]) -> None:
        """Refuse other columns than those that are registered, or another order.

        Raises:
            ValueError: it names the table and the column.
        """
        found, place = list(map(str, found)), f"the table {self.chapter}/{self.name}"
        names = [name for name in self.columns if name != OPEN]
        if missing := [name for name in names if name not in found]:
            raise ValueError(f"{place} has no column {missing[0]!r}, which {REGISTRY.name} says it has")
        if OPEN not in self.columns and (foreign := [name for name in found if name not in names]):
            raise ValueError(f"{place} has a column {foreign[0]!r}, which {REGISTRY.name} does not describe")
        kept = [name for name in found if name in names]
        for name, wanted in zip(kept, names, strict=False):
            if name != wanted:
                raise ValueError(f"{place} has the column {name!r} where {REGISTRY.name} has {wanted!r}")
        if len(kept) > len(names):
            raise ValueError(f"{place} has two columns of one name among {', '.join(kept)}")


@dataclass(frozen=True)
class Source:
    """Where a function is defined: `file` relative to the repository, with forward slashes; `line` from 1."""

    file: str
    line: int
    function: str


@cache
def registered() -> dict[str, Table]:
    """Every table by chapter/name, in the order of the registry; the chapter of a trained model is `train`."""
    content = yaml.safe_load(REGISTRY.read_text(encoding="utf-8"))
    tables = {}
    for key, entry in content["tables"].items():
        chapter, name = key.split("/")
        columns = _columns(entry["columns"], content["columns"])
        tables[key] = Table(chapter, name, entry["function"], entry["caption"], entry["rows"], columns)
    return tables


def table(chapter: str, name: str) -> Table:
    """What is registered of a table; `chapter` is its folder, such as `compare` or `train/resnet50`.

    Raises:
        ValueError: no table of that name is registered.
    """
    first = chapter.split("/")[0]
    known = registered()
    if f"{first}/{name}" not in known:
        own = [one.name for one in known.values() if one.chapter == first]
        raise ValueError(
            f"{REGISTRY.name} has no table {first}/{name}; "
            + (f"of this chapter it has {', '.join(own)}" if own else f"nor any other of a chapter {first!r}")
        )
    return known[f"{first}/{name}"]


def write(chapter: str, name: str, content: pd.DataFrame) -> None:
    """Write a table to data/CHAPTER/tables/NAME.csv, once its columns are those that are registered.

    Args:
        chapter: the folder of its notebook's outputs, such as `compare` or `train/resnet50`.
        name: of the table.
        content: the table; its index is not written.

    Raises:
        ValueError: the table is not registered or has other columns; it names both.
    """
    table(chapter, name).check(content.columns)
    files.write_csv(paths.DATA / chapter / "tables" / f"{name}.csv", content)


def computed_by(chapter: str, name: str) -> Source:
    """The function that computes a table, and where it is defined. Nothing is imported: the source is read.

    Raises:
        ValueError: the table is not registered, or the function does not exist.
    """
    return _source(table(chapter, name).function)


@cache
def _source(function: str) -> Source:
    """Where the function of the dotted path `function` is defined. Nothing is imported: the source is read.

    Raises:
        ValueError: the function does not exist.
    """
    module, _, own = function.rpartition(".")
    path = paths.ROOT / Path(*module.split(".")).with_suffix(".py")
    if path.is_file():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == own:
                return Source(path.relative_to(paths.ROOT).as_posix(), node.lineno, function)
    raise ValueError(f"{REGISTRY.name} names the function {function}, which does not exist")


def readme(published: Iterable[str] | None = None, root: str = "../../") -> str:
    """The list of the tables, as Markdown for reports/tables/README.md: what each shows, its columns and its function.

    Args:
        published: the files that there are, relative to the folder of the list, such as `compare/comparison.csv`; None:
            all that are registered, without links to them.
        root: the way from the list to the repository, where the links to the code begin.
    """
    found = None if published is None else sorted(published)
    parts = [
        "# Tables",
        "CSV in UTF-8, numbers with six significant digits. Under each table: what a row is, what its columns hold "
        "and the function that computes it. An interval is `name_low` to `name_high`; params.yaml has its confidence.",
    ]
    chapter = None
    for known in registered().values():
        where = None if found is None else [path for path in found if _is_of(path, known)]
        if where == []:
            continue
        if known.chapter != chapter:
            chapter = known.chapter
            parts.append(f"## {chapter}")
        source = _source(known.function)
        of_model = f"{known.chapter}/MODEL" if known.chapter == "train" else known.chapter
        parts.append(f"### {of_model}/{known.name}")
        listed = [f"- `{name}`: {text}" for name, text in _folded(known.columns)]
        links = f" Files: {', '.join(f'[{path}]({path})' for path in where)}." if where else ""
        parts.append(
            f"{known.caption} A row is {known.rows}. Computed by "
            f"[{source.file}, `{known.function.rpartition('.')[2]}`]({root}{source.file}#L{source.line}).{links}"
        )
        parts.append("\n".join(listed))
    return "\n\n".join(parts) + "\n"


def _is_of(path: str, known: Table) -> bool:
    """Whether the file `path` holds the table `known`, of whichever model."""
    folders = path.split("/")
    return folders[0] == known.chapter and folders[-1] == f"{known.name}.csv"


def _columns(listed: list[Any], shared: dict[str, str]) -> dict[str, str]:
    """The columns of one table by name, from their short form in tables.yaml."""
    columns: dict[str, str] = {}
    for entry in listed:
        short, text = next(iter(entry.items())) if isinstance(entry, dict) else (entry, None)
        name = short.removesuffix("±")
        text = text if text is not None else shared[name]
        if "{dx}" in name:
            columns |= {name.format(dx=dx): f"{text} ({dx})" for dx in CLASSES}
        else:
            columns[name] = text
        if short.endswith("±"):
            columns |= {f"{name}{end}": ending for end, ending in ENDS.items()}
    return columns


def _folded(columns: dict[str, str]) -> list[tuple[str, str]]:
    """The columns as they are listed: the ends of an interval beside its estimate, any further ones in words."""
    return [
        (
            "any other"
            if name == OPEN
            else f"{name}`, `{name}_low`, `{name}_high"
            if f"{name}_low" in columns
            else name,
            text,
        )
        for name, text in columns.items()
        if not any(name.endswith(end) and name.removesuffix(end) in columns and ENDS[end] == text for end in ENDS)
    ]
