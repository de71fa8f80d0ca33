"""What the pages on reporting standards quote and link to: the report as it is written, and files of the repository."""

import html
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from skinlesions.core import paths
from skinlesions.core.config import Params
from skinlesions.core.errors import UserError
from skinlesions.core.names import ENSEMBLE, leading

# How an image becomes a square, by the names of params.yaml.
FITS = {
    "crop": "scaled so that the short side fits, the centre kept",
    "pad": "scaled so that the long side fits, with black borders",
    "stretch": "stretched to fit",
}

_HEADING = re.compile(r"<h([1-6])\b[^>]*\bid=\"([^\"]+)\"[^>]*>(.*?)</h\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
_ID = re.compile(r"\bid=\"([^\"]+)\"")
_LINK = re.compile(r"\b(?:href|src)=\"([^\"]+)\"")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where a reader finds something.

    Attributes:
        label: what it is called.
        part: the section, or the block of a file; may be empty.
        href: relative to the folder of index.html; None: a file of the repository, which the report does not hold.
    """

    label: str
    part: str
    href: str | None


@dataclass(frozen=True)
class Evidence:
    """The report that is being written, to quote from and to link to.

    Attributes:
        folder: of the report; its tables, notebooks and index.html are there already.
        parameters: of the run.
        record: where the numbers come from, as provenance.collect gives it.
    """

    folder: Path
    parameters: Params
    record: Mapping[str, Any]

    @property
    def is_sample(self) -> bool:
        """Whether the images are drawn by a program."""
        return self.record["data"]["source"] == "sample"

    def table(self, name: str, *columns: str, **where: str) -> pd.DataFrame:
        """The table tables/`name`.csv of the report.

        Args:
            name: of the file, such as compare/classes.
            columns: which it must have.
            where: columns with the value that is wanted there; rows with another one are left out.

        Raises:
            UserError: it is absent, cannot be read, or lacks a column.
        """
        path = self.folder / "tables" / f"{name}.csv"
        stage = name.split("/")[0]
        try:
            found = pd.read_csv(path, dtype={"model": str, "group": str}, keep_default_na=False, na_values=[""])
        except (OSError, ValueError) as error:
            raise UserError(
                f"the report has no table {name}.csv to quote ({error}); `dvc repro {stage}` makes it"
            ) from None
        if missing := [column for column in (*columns, *where) if column not in found.columns]:
            raise UserError(f"{name}.csv has no column {missing[0]!r}; `dvc repro --force {stage}` makes it anew")
        for column, value in where.items():
            found = found[found[column] == value]
        return found

    def section(self, page: str, heading: str = "") -> Place:
        """A page of the report, or the section of it under `heading`.

        Args:
            page: `index`, `model_card`, or a notebook such as `04_compare`.
            heading: its text, as it stands on the page.

        Raises:
            UserError: there is no such page, or no such heading on it.
        """
        name = f"{page}.html" if (self.folder / f"{page}.html").exists() else f"notebooks/{page}.html"
        try:
            content = (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(f"the report has no page {page}, to which its pages on reporting standards link") from None
        if not heading:
            return Place(_page_label(page), "", name)
        anchors = {_plain(text): anchor for _, anchor, text in _HEADING.findall(content)}
        if heading not in anchors:
            raise UserError(
                f"{name} has no section “{heading}”, to which the pages on reporting standards link; its sections are "
                f"{', '.join(f'“{known}”' for known in anchors) or 'none'}"
            )
        return Place(_page_label(page), heading, f"{name}#{html.unescape(anchors[heading])}")

    def published(self, name: str) -> Place:
        """The file `name` of the report, such as predictions/models.json.

        Raises:
            UserError: there is no such file.
        """
        if not (self.folder / name).is_file():
            raise UserError(f"the report has no file {name}, to which its pages on reporting standards link")
        return Place(name, "", name)

    def file(self, name: str, part: str = "") -> Place:
        """The file `name` of the repository, or the section or block `part` of it.

        Raises:
            UserError: there is no such file, or no such part in it.
        """
        try:
            content = (paths.ROOT / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(f"the repository has no {name}, which the pages on reporting standards name") from None
        pattern = rf"^#+ {re.escape(part)}$" if name.endswith(".md") else rf"^\s*{re.escape(part)}:"
        if part and not re.search(pattern, content, re.MULTILINE):
            raise UserError(f"{name} has no {part!r}, which the pages on reporting standards name")
        return Place(name, part, None)


@dataclass(frozen=True)
class Leaders:
    """The models that the pages quote: the best single one and, where there is one, the ensemble.

    Attributes:
        comparison: the table of that name.
        names: the best single model and, after it, the ensemble.
    """

    comparison: pd.DataFrame
    names: list[str]

    @classmethod
    def of(cls, evidence: Evidence) -> "Leaders":
        """Those of a report.

        Raises:
            UserError: the report has no such table.
        """
        columns = ("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "macro_auc")
        table = evidence.table("compare/comparison", "model", "training", "initialisation", *columns)
        return cls(table, leading(table["model"].tolist()))

    @property
    def single(self) -> str:
        """The best single model."""
        return self.names[0]

    @property
    def last(self) -> str:
        """The ensemble, or the best single model where there is none: what groups and selection are tabulated of."""
        return self.names[-1]

    @property
    def has_ensemble(self) -> bool:
        """Whether there is an ensemble."""
        return self.last == ENSEMBLE

    def title(self, name: str) -> str:
        """One of `names` as in a sentence."""
        return f"the {name}" if name == ENSEMBLE else name

    def row(self, name: str) -> pd.Series:
        """The row of the comparison about the model `name`."""
        return self.comparison[self.comparison["model"] == name].iloc[0]


def check_links(folder: Path, names: list[str]) -> None:
    """Make sure that every internal link of some pages leads to a file, and to an anchor that is there.

    Args:
        folder: of the report.
        names: of the pages, relative to it.

    Raises:
        UserError: a link leads nowhere.
    """
    for name in names:
        page = folder / name
        for link in map(html.unescape, _LINK.findall(page.read_text(encoding="utf-8"))):
            if _ELSEWHERE.match(link):
                continue
            path, _, anchor = link.partition("#")
            target = page.parent / urllib.parse.unquote(path) if path else page
            if not target.is_file():
                raise UserError(f"{name} links to {link}, but the report has no such file")
            if anchor and anchor not in map(html.unescape, _ID.findall(target.read_text(encoding="utf-8"))):
                raise UserError(f"{name} links to {link}, but {target.name} has no such anchor")


def _page_label(page: str) -> str:
    """What readers call a page."""
    if page in ("index", "model_card"):
        return {"index": "First page", "model_card": "Model card"}[page]
    place, _, name = page.partition("_")
    model = name.removeprefix("train_")
    return f"Notebook {int(place)}" + (f" ({model})" if model != name else "")


def _plain(text: str) -> str:
    """The text of a heading without its tags."""
    return html.unescape(_TAG.sub("", text)).strip()
