"""Check that the published report is whole and agrees with itself.

What `verify` checks; and no link in it is broken, it comes from code that was committed, and the published model is
whole and of the same run. Stages that are not up to date are named, but are no fault: the report is that of the last
run.
"""

import argparse
import html.parser
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from skinlesions.commands import pipeline, status, verify
from skinlesions.core import files, paths


def configure(parser: argparse.ArgumentParser) -> None:
    """It takes no arguments."""


def run(arguments: argparse.Namespace) -> None:
    """Print what was checked, with the faults; exit code 1 if there are any."""
    sound = verify.agree()
    for title, faults in (
        ("every link in the report leads somewhere", broken_links(paths.REPORTS)),
        ("the report comes from committed code", provenance_faults(paths.REPORTS / "provenance.json")),
        ("the published model is whole, and of the report", model_faults(paths.PUBLISHED_MODEL)),
    ):
        found = list(faults)
        print("\n  ".join([f"{'FAIL' if found else 'ok  '} {title}", *found]), flush=True)
        sound = sound and not found
    print(status.described(pipeline.waiting(paths.ROOT)))
    if not sound:
        sys.exit(1)


def provenance_faults(path: Path) -> Iterator[str]:
    """Why the commit that the report names may not be the code that made it."""
    try:
        code = files.read_json(path)["code"]
        commit, changed = code["commit"], code["uncommitted_changes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"{paths.relative(path)} cannot be read: {error!r}; restore reports/ from Git"
        return
    if commit is None:
        yield f"{paths.relative(path)} names no commit; run `make report` in a Git checkout"
    elif changed is not False:
        yield f"{paths.relative(path)}: files differed from {commit}; commit them and run `make report`"


def model_faults(folder: Path) -> Iterator[str]:
    """What is wrong with the published model in `folder`; nothing where there is none."""
    from skinlesions.inference import published  # only here: it starts Keras, which takes seconds

    yield from published.faults(folder, paths.REPORTS_PREDICTIONS)


def broken_links(reports: Path) -> Iterator[str]:
    """The links of the pages below `reports` that lead to no file, or to no place in a page."""
    pages = {path: _Page(path) for path in sorted(reports.rglob("*.html"))}
    if not pages:
        yield f"{paths.relative(reports)} has no page; run `make report`, or restore it from Git"
    for path, page in pages.items():
        for link in page.links:
            address = urllib.parse.urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (path.parent / urllib.parse.unquote(address.path)).resolve() if address.path else path.resolve()
            place = urllib.parse.unquote(address.fragment)
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{paths.relative(path)}: there is no file {link}"
            elif place and target in pages and place not in pages[target].places:
                yield f"{paths.relative(path)}: there is no place {link}"


class _Page(html.parser.HTMLParser):
    """The links of a page, and the places in it that a link may name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag links to and what it is called."""
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.append(value)
            elif value and (name == "id" or (name == "name" and tag == "a")):
                self.places.add(value)
