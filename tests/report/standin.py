"""What the stages would leave in data/, in small: executed notebooks, figures, tables and predictions."""

from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
from nbformat import NotebookNode

from skinlesions import comparison, files, notebook, predictions
from skinlesions.figures import style
from skinlesions.params import Params, load, merged, validate
from skinlesions.report import results as results_page
from tests.synthetic import synthetic_index, synthetic_predictions

MODELS = {"baseline_cnn": 0.6, "resnet50": 1.8}
SAMPLE_NOTE = "Synthetic sample: numbers say nothing about <real> lesions & models."

CELLS = [
    ("markdown", "title", "# {title}\n\nWhat is *in* here, and is 1 < 2 & 3?\n\nMore of it."),
    ("code", "imports", "import matplotlib.pyplot as plt\nimport pandas as pd\nfrom IPython.display import Markdown"),
    (
        "markdown",
        "part",
        "## A part with `code`\n\nProse with **emphasis**, a [link](#What-was-found), a table:\n\n|a|b|\n|-|-|\n|1|2|",
    ),
    ("code", "figure", "figure, axes = plt.subplots()\naxes.plot([1, 2])\nplt.close(figure)\nfigure"),
    ("code", "table", 'pd.DataFrame({{"dx": ["<b>nv</b>", "mel"], "recall": [0.25, 1]}})'),
    ("code", "text", 'print("<script>alert(1)</script> & text")'),
    ("code", "hostile", 'Markdown("<script>alert(2)</script> **computed:** 3 <img src=x onerror=alert(3)>")'),
    ("markdown", "found", "## What was found\n\nThat it works."),
]


def executed(log: Path) -> NotebookNode:
    """A small notebook, really executed; its title is still `{title}`."""
    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    cells = [make[kind](source.replace("{{", "{").replace("}}", "}"), id=name) for kind, name, source in CELLS]
    document = notebook.execute(nbformat.v4.new_notebook(cells=cells, metadata=notebook.METADATA), "stand-in", log)
    notebook.normalise(document)
    return document


def titled(document: NotebookNode, title: str) -> NotebookNode:
    """A copy of `document` with another title."""
    copy = nbformat.from_dict(document)
    copy.cells = [nbformat.from_dict(cell) for cell in copy.cells]
    copy.cells[0].source = copy.cells[0].source.replace("{title}", title)
    return copy


def parameters(source: str = "ham10000") -> Params:
    """The project's parameters with two models and one backbone."""
    values = load().model_dump()
    keep = {
        "data": {"source": source} | ({"external": None} if source == "sample" else {}),
        "compare": {"resamples": 50, "test_resamples": 50, "ensemble": "all"},
        "models": {name: None for name in values["models"] if name not in MODELS},
        "backbones": {name: None for name in values["backbones"] if name != "resnet50"},
        "split": {"duplicates": {"backbone": "resnet50"}},
        "balance": {"backbone": "resnet50"},
        "explain": {"model": "resnet50", "models": list(MODELS)},
        "leakage": {"backbone": "resnet50"},
    }
    return validate(merged(values, keep))


def make(data: Path, document: NotebookNode, source: str = "ham10000") -> Params:
    """Fill the folder `data` and return the parameters that go with it."""
    chosen = parameters(source)
    index = synthetic_index()
    note = SAMPLE_NOTE if source == "sample" else ""
    counts = {"images": len(index), "lesions": index["lesion_id"].nunique()}
    record = {"source": source, "origin": "a local folder", "files": [], "note": note} | counts
    files.write_json(data / "raw" / "source.json", record)
    files.write_csv(data / "raw" / "manifest.csv", pd.DataFrame({"image_id": index["image_id"]}))
    weights = {"backbone": "resnet50", "source": "a <file>", "file": "r.h5", "sha256": "ab" * 32, "cut_at": None}
    if chosen.data.external is not None:
        outside = {"name": "outside.zip", "origin": "local <files>", "files": [], "note": "", "images": 1, "lesions": 1}
        files.write_json(data / "external_raw" / "source.json", outside)
        files.write_text(data / "external_raw" / "manifest.csv", "image_id\nISIC_1\n")
        for name in (*MODELS, "ground_truth"):
            files.write_text(data / "external" / "predictions" / f"{name}.csv", "image\nISIC_1\n")
    files.write_json(data / "weights" / "resnet50.json", weights)
    files.write_json(data / "weights" / "unused.json", weights)

    tables = {name: synthetic_predictions(index, skill, seed) for seed, (name, skill) in enumerate(MODELS.items())}
    folders = {
        "explore": ("01_explore", "1 · What is in the data"),
        "balance": ("02_balance", "2 · How to weigh <seven> classes"),
        **{f"train/{name}": ("03_train", f"3 · Training of {name}") for name in MODELS},
        "compare": ("04_compare", "4 · The models side by side"),
        "explain": ("05_explain", "5 · Where the networks look"),
        "leakage": ("06_leakage", "6 · What leaks"),
        "external": ("07_external", "7 · Images from outside"),
    }
    for folder, (name, title) in folders.items():
        files.write_bytes(data / folder / f"{name}.ipynb", notebook.notebook_bytes(titled(document, title)))
        files.write_csv(data / folder / "tables" / "some_numbers.csv", pd.DataFrame({"a": [1]}))
        _figure(data / folder / "figures", "some_numbers")
        files.write_json(data / folder / "metrics.json", {"a": 0.5})
    descriptions = {name: {"training": "frozen features", "initialisation": "ImageNet"} for name in MODELS}
    for name, table in tables.items():
        predictions.write(data / "train" / name / "predictions.csv", table)
        files.write_json(data / "train" / name / "model.json", descriptions[name])
    results = comparison.tables(tables, descriptions=descriptions, **chosen.compare.model_dump())
    for name, table in results.items():
        files.write_csv(data / "compare" / "tables" / f"{name}.csv", table)
    _figure(data / "compare" / "figures", results_page.FIGURE)
    return chosen


def _figure(folder: Path, name: str) -> None:
    """A figure as the stages write them."""
    style.use_style()
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    style.save(figure, folder, name)
