"""What a test wants to know of a page of the report."""

import html.parser
from pathlib import Path


class Page(html.parser.HTMLParser):
    """What a test wants to know of a page; fails on tags that do not nest."""

    EMPTY = frozenset(["meta", "link", "img", "br", "hr", "input", "wbr"])

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open, f"{path.name}: {self.open} never closed"

    @property
    def anchors(self) -> set[str]:
        """What a link on this page, or to it, may name."""
        return {attributes["id"] for _, attributes in self.tags if "id" in attributes}

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{self.path.name}, line {self.getpos()[0]}: </{tag}> closes another tag"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data
