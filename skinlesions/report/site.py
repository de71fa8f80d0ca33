"""The pages of the report. They need no network: no script, and all style is inside."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import bleach
import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from skinlesions.core import files
from skinlesions.core import tables as registry
from skinlesions.core.classes import CLASS_NAMES, MALIGNANT
from skinlesions.core.config import Embedding, Params
from skinlesions.core.errors import UserError
from skinlesions.core.formatting import percent
from skinlesions.data import predictions
from skinlesions.report import claim, model_card, results
from skinlesions.report.chapters import Chapter
from skinlesions.report.evidence import Evidence, check_links
from skinlesions.report.tables import tidy

TITLE = "Seven-class skin-lesion classification on HAM10000"

# The pages on reporting standards.
CLAIM = "claim.html"
MODEL_CARD = "model_card.html"

_TEMPLATES = Path(__file__).with_name("templates")
_HEADING = re.compile(r"^#\s+(.+?)\s*#*\s*$", re.MULTILINE)
_ANY_HEADING = re.compile(r"^#+\s+(.+?)\s*#*\s*$", re.MULTILINE)
_SAVED_FIGURE = re.compile(r"""style\.save\(.*,\s*f?["']([A-Za-z0-9_]+)["']\s*\)""", re.DOTALL)
# What the content of a cell may consist of; all else is shown as text. No image of markdown, so none from elsewhere.
_TAGS = (
    "h1 h2 h3 h4 h5 h6 p br hr div span blockquote pre code kbd samp a abbr b strong i em cite s del small sub sup "
    "ul ol li dl dt dd table caption thead tbody tfoot tr th td wbr"
)
_ATTRIBUTES = {
    "*": ["class", "id", "title"],
    "a": ["href"],
    "td": ["colspan", "rowspan"],
    "th": ["colspan", "rowspan", "scope"],
}
# nbconvert's ¶ after every heading, which a screen reader would read out.
_ANCHOR_LINK = re.compile(r'<a class="anchor-link"[^>]*>.*?</a>')
_TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
_STYLE_BLOCK = re.compile(r"<style\b.*?</style>\s*", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Page:
    """A notebook of the report as its pages link to it; paths are relative to the folder of index.html."""

    chapter: Chapter
    title: str
    question: Markup
    figures: list[str]
    tables: list[str]
    predictions: list[str]

    @property
    def html(self) -> str:
        """Where the page is."""
        return f"notebooks/{self.chapter.page}.html"

    @property
    def ipynb(self) -> str:
        """Where the executed notebook is."""
        return f"notebooks/{self.chapter.page}.ipynb"

    @property
    def label(self) -> str:
        """The title, with the model that tells the notebooks on training apart."""
        return f"{self.title}: {self.model}" if self.model and self.model not in self.title else self.title

    @property
    def contents(self) -> str:
        """How many figures and tables there are, in words."""
        counts = {"figure": len(self.figures), "table": len(self.tables)}
        return " and ".join(f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count)

    @property
    def model(self) -> str | None:
        """The model that the notebook trains."""
        folder, _, model = self.chapter.folder.partition("/")
        return model if folder == "train" else None


def write(
    target: Path,
    documents: list[tuple[Chapter, NotebookNode]],
    parameters: Params,
    record: dict[str, Any],
    notice: str,
) -> None:
    """Write index.html, a page per notebook and two on reporting standards into `target`, which has all other files.

    Args:
        target: the folder of the report.
        documents: the executed notebooks in reading order.
        parameters: those of the run.
        record: where the numbers come from, as provenance.collect gives it.
        notice: what stands above everything on every page; may be empty.

    Raises:
        UserError: a table, figure, title or section that the pages need is absent.
    """
    pages = [_page(target, chapter, document) for chapter, document in documents]
    environment = _environment()
    shared = {"site_title": TITLE, "notice": notice, "style": Markup((_TEMPLATES / "style.css").read_text("utf-8"))}

    for position, (page, (_, document)) in enumerate(zip(pages, documents, strict=True)):
        content = environment.get_template("notebook.html.j2").render(
            **shared,
            page=page,
            given=describe_input(page.model, parameters) if page.model else "",
            body=notebook_body(document),
            highlighting=Markup(HtmlFormatter(style="default").get_style_defs(".highlight")),
            previous=pages[position - 1] if position else None,
            next=pages[position + 1] if position + 1 < len(pages) else None,
        )
        files.write_text(target / page.html, content)

    tables = target / "tables" / "compare"
    figure = f"figures/compare/{results.FIGURE}.svg"
    if not (target / figure).exists():
        raise UserError(f"the comparison has no figure {results.FIGURE}.svg, on which the report opens")
    content = environment.get_template("index.html.j2").render(
        **shared,
        pages=[page for page in pages if page.model is None],
        model_pages=[page for page in pages if page.model is not None],
        inputs={name: describe_input(name, parameters) for name in parameters.models},
        figure=figure,
        headline=results.headline(tables, parameters.compare.confidence),
        best=results.best(tables),
        classes=_classes(target / "predictions" / f"{next(iter(parameters.models))}.csv.gz"),
        parameters=parameters,
        record=record,
    )
    files.write_text(target / "index.html", content)
    _write_standards(environment, shared, Evidence(target, parameters, record))


def _write_standards(environment: Environment, shared: dict[str, Any], evidence: Evidence) -> None:
    """Write the model card and the CLAIM checklist, which quote and link to all that is written before them."""
    parameters = evidence.parameters
    best = results.best(evidence.folder / "tables" / "compare")
    content = environment.get_template("model_card.html.j2").render(
        **shared,
        card=model_card.card(evidence, describe_input(best, parameters)),
        parameters=parameters,
        record=evidence.record,
    )
    files.write_text(evidence.folder / MODEL_CARD, content)
    answered = claim.items(evidence)
    content = environment.get_template("claim.html.j2").render(**shared, items=answered, counts=claim.counts(answered))
    files.write_text(evidence.folder / CLAIM, content)
    check_links(evidence.folder, [MODEL_CARD, CLAIM])


def notebook_body(document: NotebookNode) -> Markup:
    """The cells of `document` as HTML: without scripts, every picture with a text alternative."""
    document = nbformat.from_dict(document)
    section = ""
    for cell in document.cells:
        if cell.cell_type == "markdown":
            headings = _ANY_HEADING.findall(cell.source)
            section = headings[-1] if headings else section
            continue
        saved = _SAVED_FIGURE.findall(cell.get("source", ""))
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                data["text/html"] = _TABLE.sub(
                    lambda match: tidy(match.group()), _STYLE_BLOCK.sub("", data["text/html"])
                )
            if "image/png" in data:
                text = f"Figure: {caption(saved[-1])}" if saved else f"Figure of the section “{section}”"
                output.metadata.setdefault("image/png", {})["alt"] = text
    body, _ = _exporter().from_notebook_node(document)
    return Markup(_ANCHOR_LINK.sub("", body))


@cache
def _exporter() -> HTMLExporter:
    """Converts cells only: the page around them is this module's own."""
    return HTMLExporter(
        template_name="basic",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        sanitize_html=True,
        filters={"clean_html": clean_html},
    )


def clean_html(content: str) -> str:
    """`content` with everything but plain markup escaped; nbconvert's own filter would not let tables pass."""
    return bleach.clean(content, tags=frozenset(_TAGS.split()), attributes=_ATTRIBUTES, protocols={"https", "mailto"})


def caption(name: str) -> str:
    """The name of a figure or table file, such as `class_counts`, as words."""
    return name.replace("_", " ").capitalize()


def describe_input(model: str, parameters: Params) -> str:
    """What the network called `model` is given, in words."""
    entry = parameters.models[model]
    if entry.backbone is None:
        return f"images at {entry.image_size} × {entry.image_size} pixels, from scratch"
    backbone = parameters.backbones[entry.backbone]
    if isinstance(backbone, Embedding):
        return f"features computed elsewhere: {backbone.origin or Path(backbone.features).name}"
    cut = ""
    if backbone.cut_at:
        place = "before" if backbone.cut_at.startswith("before:") else "after"
        cut = f", cut {place} {backbone.cut_at.removeprefix('before:')}"
    origin = "random weights" if backbone.weights == "none" else "ImageNet weights"
    network = f"{backbone.architecture} ({origin}{cut})"
    size = f"images at {backbone.image_size} × {backbone.image_size} pixels"
    if entry.fine_tune and entry.fine_tuned:
        start = entry.fine_tune.from_layer
        return f"{size}, {network} fine-tuned{'' if start == 'all' else f' from {start} on'}"
    return f"features of a frozen {network}, {size}"


def _page(target: Path, chapter: Chapter, document: NotebookNode) -> Page:
    """What the pages say of one notebook."""
    texts = [cell.source for cell in document.cells if cell.cell_type == "markdown"]
    heading = next((found for text in texts if (found := _HEADING.search(text))), None)
    if heading is None:
        raise UserError(f"{chapter.source}.ipynb has no title: its first cell must start with '# '")
    paragraphs = [part.strip() for part in _HEADING.sub("", heading.string, count=1).split("\n\n")]
    question = next((part for part in paragraphs if part), "")
    return Page(
        chapter=chapter,
        title=heading.group(1),
        question=Markup(clean_html(markdown2html(question))),
        figures=sorted(path.stem for path in (target / "figures" / chapter.folder).glob("*.png")),
        tables=sorted(path.stem for path in (target / "tables" / chapter.folder).glob("*.csv")),
        predictions=sorted(path.stem for path in (target / "predictions" / chapter.folder).glob("*.csv")),
    )


def _classes(path: Path) -> list[dict[str, Any]]:
    """The classes with the number of images that the predictions in `path` are about."""
    counts = predictions.select(predictions.read(path), "test")["dx"].value_counts()
    return [
        {
            "dx": dx,
            "name": name,
            "malignant": dx in MALIGNANT,
            "images": int(counts.get(dx, 0)),
            "share": float(counts.get(dx, 0) / counts.sum()),
        }
        for dx, name in CLASS_NAMES.items()
    ]


def _environment() -> Environment:
    """Templates in which everything is escaped and nothing may be undefined."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["caption"] = caption
    environment.globals["computed_by"] = registry.computed_by
    environment.filters["percent"] = percent
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment
