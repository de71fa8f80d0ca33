"""The sentences of the notebooks: sections of Markdown templates in notebooks/text, filled with numbers and tables.

A template file has a section under each line `# name`; what stands before the first is part of every section. A number
reaches the text only through one of the filters of `formatting`; a whole number alone may stand without. Text is
escaped, so that a name from a file or from metadata is shown as it is. A value that is not given, or of another kind,
is an error.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from numbers import Integral
from typing import Any, TypeAlias

import pandas as pd
from IPython.display import Markdown
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from skinlesions.core import classes, formatting, names, paths
from skinlesions.core.errors import UserError

FOLDER = paths.NOTEBOOKS / "text"

_SECTION = re.compile(r"^# ([a-z0-9-]+)\n", re.MULTILINE)
# What Markdown would read as markup; a line within a word is none.
_MARKS = re.compile(r"[\\`*\[\]$|~#]|(?<!\w)_|_(?!\w)")

Table: TypeAlias = pd.DataFrame | Iterable[Mapping[str, Any]]


def fill(section: str, **values: Any) -> Markdown:
    """A section of a template with `values` in it, as a notebook displays it.

    Args:
        section: file and section, such as `compare/differences` for `# differences` in notebooks/text/04_compare.md.
        values: numbers, text, and tables, which the template picks rows from.

    Raises:
        UserError: there is no such section.
    """
    return Markdown(text(section, **values))


def text(section: str, **values: Any) -> str:
    """The Markdown of `fill`."""
    chapter, _, name = section.partition("/")
    known = sections(chapter)
    if name not in known:
        raise UserError(f"notebooks/text has no section {section!r}; sections of {chapter}: {', '.join(known)}")
    # Lines that only set something leave empty ones.
    filled = re.sub(r"[ \t]+\n", "\n", render(known[name], **values))
    return re.sub(r"\n{3,}", "\n\n", filled).strip()


@cache
def sections(chapter: str) -> dict[str, str]:
    """The sections of the template file of `chapter` (`compare`: notebooks/text/04_compare.md) by their names.

    Raises:
        UserError: there is no such file.
    """
    path = next(iter(sorted(FOLDER.glob(f"*_{chapter}.md"))), None)
    if path is None:
        raise UserError(f"notebooks/text has no NUMBER_{chapter}.md; restore it from Git")
    shared, *parts = _SECTION.split(path.read_text(encoding="utf-8"))
    return {name: shared + own for name, own in zip(parts[::2], parts[1::2], strict=True)}


def render(template: str, **values: Any) -> str:
    """The Markdown of `template`, in the language of Jinja, with `values` in it; a table is there as its `rows`."""
    return _environment(_in_markdown).from_string(template).render(_given(values))


def html(template: str, **values: Any) -> Markup:
    """The same for a page: text is escaped as HTML, and all is on one line."""
    return Markup(re.sub(r"[ \n]+", " ", _environment(escape).from_string(template).render(_given(values))).strip())


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: rows(value) if isinstance(value, pd.DataFrame) else value for name, value in values.items()}


@cache
def _environment(escaped: Callable[[str], Markup]) -> Environment:
    """Jinja with the filters of this module, and the constants of core.classes and core.names.

    Args:
        escaped: makes of any text what shows as that text.
    """

    def written(value: object) -> Markup:
        if isinstance(value, (Markup, StrictUndefined)):
            return Markup(value)
        if isinstance(value, str):
            return escaped(value)
        if not isinstance(value, bool) and isinstance(value, Integral):
            return Markup(f"{int(value):,}")
        raise TypeError(f"a template shows {value!r}: fractions need a filter such as `number`, other things no text")

    made = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=written
    )
    for write in (formatting.number, formatting.percent, formatting.points, formatting.estimate, formatting.plural):
        made.filters[write.__name__] = _safe(write)
    for word in (formatting.part, formatting.verb, formatting.inflected):
        made.filters[word.__name__] = word
    made.filters |= {
        "capital": lambda content: Markup(formatting.capital(written(content))),
        "code": code,
        "listed": lambda words: Markup(formatting.listed([written(word) for word in words])),
        "span": _span,
        "rows": rows,
        "where": where,
        "row": row,
        "most": most,
        "least": least,
    }
    known = vars(classes) | vars(names)
    made.globals |= {name: value for name, value in known.items() if name.isupper()}
    return made


def _in_markdown(value: str) -> Markup:
    """`value` with all that Markdown and HTML would read as markup escaped."""
    return Markup(_MARKS.sub(r"\\\g<0>", str(escape(value))))


def code(value: str) -> Markup:
    """`value` as code, such as the short name of a class."""
    return Markup("<code>{}</code>").format(value) if "`" in value else Markup(f"`{value}`")


def rows(table: Table) -> list[dict[str, Any]]:
    """The rows of `table`, each a dictionary by column; the index, if it has a name, is a column."""
    if isinstance(table, pd.DataFrame):
        named = table.reset_index() if any(name is not None for name in table.index.names) else table
        return named.to_dict("records")
    return list(table)


def where(table: Table, **wanted: Any) -> list[dict[str, Any]]:
    """The rows in which every column named has the value wanted, or one of a list of them."""
    return [
        row
        for row in rows(table)
        if all(row[name] in value if isinstance(value, list) else row[name] == value for name, value in wanted.items())
    ]


def row(table: Table, **wanted: Any) -> dict[str, Any]:
    """The one row that `where` leaves.

    Raises:
        LookupError: there is none, or more than one.
    """
    found = where(table, **wanted)
    if len(found) != 1:
        raise LookupError(f"{len(found)} rows with {wanted}, expected one")
    return found[0]


def most(table: Table, column: str) -> dict[str, Any]:
    """The row with the greatest value of `column`, of equals the first; rows without one are passed over."""
    return max(_known(table, column), key=lambda entry: entry[column])


def least(table: Table, column: str) -> dict[str, Any]:
    """The row with the least value of `column`, of equals the first; rows without one are passed over."""
    return min(_known(table, column), key=lambda entry: entry[column])


def _known(table: Table, column: str) -> list[dict[str, Any]]:
    return [entry for entry in rows(table) if not formatting.is_absent(entry[column])]


def _span(values: Iterable[float], write: str = "number", *form: Any, **more: Any) -> Markup:
    """`formatting.span` with the function called `write`; `digits` may follow."""
    if form:
        more |= {"digits": form[0]}
    writers = {"count": lambda value: f"{int(value):,}", "number": formatting.number}
    writers |= {"percent": formatting.percent, "points": formatting.points}
    return Markup(formatting.span(list(values), writers[write], **more))


def _safe(write: Callable[..., str]) -> Callable[..., Markup]:
    """`write`, whose text is numbers and needs no escape."""
    return lambda *arguments, **form: Markup(write(*arguments, **form))
