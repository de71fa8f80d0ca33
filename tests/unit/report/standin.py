"""What the stages would leave in data/, in small: executed notebooks, figures, tables and predictions."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
from nbformat import NotebookNode

from skinlesions.core import files, notebooks, paths
from skinlesions.core.classes import CLASSES
from skinlesions.core.config import Params, validate
from skinlesions.data import balancing, exploration, predictions
from skinlesions.data.records import Study
from skinlesions.evaluation import study
from skinlesions.figures import style
from skinlesions.report import results as results_page
from skinlesions.report.evidence import Evidence
from skinlesions.stages import notebook as runner
from tests.helpers.project import tiny
from tests.helpers.studies import described, study_of
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

MODELS = {"baseline_cnn": 0.6, "resnet50": 1.8}
# What training on images of tested lesions adds, over all images and those that have such mates.
LEAKS = {"logistic_regression": (0.148, 0.342), "nearest_neighbour": (-0.012, 0.5)}
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
    document = runner.execute(nbformat.v4.new_notebook(cells=cells, metadata=notebooks.METADATA), "stand-in", log)
    notebooks.normalise(document)
    return document


def titled(document: NotebookNode, title: str) -> NotebookNode:
    """A copy of `document` with another title."""
    copy = nbformat.from_dict(document)
    copy.cells = [nbformat.from_dict(cell) for cell in copy.cells]
    copy.cells[0].source = copy.cells[0].source.replace("{title}", title)
    return copy


def with_sections(document: NotebookNode, source: str) -> NotebookNode:
    """A copy of `document` with the sections of the notebook called `source` that it does not have yet."""
    copy = nbformat.from_dict(document)
    known = [line for cell in copy.cells for line in cell.source.splitlines()]
    wanted = [
        line
        for cell in nbformat.read(paths.NOTEBOOKS / f"{source}.ipynb", as_version=4).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if re.match(r"##+ ", line) and line not in known
    ]
    copy.cells += [nbformat.v4.new_markdown_cell(line, id=f"section-{place}") for place, line in enumerate(wanted)]
    return copy


def parameters(source: str = "ham10000") -> Params:
    """Settings of a run with two models and one backbone."""
    values = tiny()
    external = {"images": "outside.zip", "ground_truth": "outside.csv"} if source == "ham10000" else None
    values["data"] |= {"source": source, "external": external}
    values["prepare"]["size"] = 240
    values["split"]["folds"] = 5
    values["statistics"]["resamples"] = values["compare"]["test_resamples"] = 50
    backbone = {"weights": "r.h5", "cut_at": "conv4_block6_out", "crop": 224, "image_size": 224}
    values["backbones"] = {"resnet50": backbone}
    values["models"] = {
        "baseline_cnn": values["models"]["baseline_cnn"],
        "resnet50": {"inputs": "features/resnet50.npy"},
    }
    values["split"]["duplicates"]["backbone"] = values["balance"]["backbone"] = values["leakage"]["backbone"] = (
        "resnet50"
    )
    values["explain"] |= {"model": "resnet50", "models": list(MODELS)}
    values["publish"] = {"model": "resnet50"}
    return validate(values)


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
        own = with_sections(titled(document, title), name)
        files.write_bytes(data / folder / f"{name}.ipynb", notebooks.notebook_bytes(own))
        (data / folder / "tables").mkdir(parents=True, exist_ok=True)
        _figure(data / folder / "figures", "some_numbers")
        files.write_json(data / folder / "metrics.json", {"a": 0.5})
    network = {"hidden_units": 256, "crop": 224, "prepared_size": 240, "fit": "crop", "dropout": 0.5, "l2": 0.1}
    made = study_of(tables, descriptions={name: described(name, **network) for name in MODELS})
    for name, table in tables.items():
        predictions.write(data / "train" / name / "predictions.csv", table)
        files.write_json(data / "train" / name / "model.json", made.descriptions[name])
    balancing.write(data / "balance" / "plan.json", made.plan)
    index = index.merge(made.metadata, on="image_id")
    files.write_csv(data / "prepared" / "index.csv", index)
    quoted = _other_tables(index, tables["resnet50"], chosen)
    quoted |= {f"compare/{name}": table for name, table in _compared(made, chosen).items()}
    for name, table in quoted.items():
        folder, _, file = name.partition("/")
        files.write_csv(data / folder / "tables" / f"{file}.csv", table)
    _figure(data / "compare" / "figures", results_page.FIGURE)
    return chosen


def evidence(reports: Path, source: str = "ham10000") -> Evidence:
    """The report in the folder `reports` as the pages on reporting standards read it."""
    return Evidence(reports, parameters(source), files.read_json(reports / "provenance.json"))


def without_ensemble(reports: Path) -> None:
    """Change the tables of `reports` to those of models of which no ensemble is made."""
    for path in (reports / "tables").glob("*/*.csv"):
        table = pd.read_csv(path)
        if "model" in table:
            files.write_csv(path, table[~table["model"].isin(["ensemble", "stacked"])])
    for path in (reports / "tables" / "compare").glob("ensemble*.csv"):
        path.unlink()


def _compared(made: Study, chosen: Params) -> dict[str, pd.DataFrame]:
    """The tables of notebook 04."""
    return study.tables(made, chosen.compare)


def _other_tables(index: pd.DataFrame, predicted: pd.DataFrame, chosen: Params) -> dict[str, pd.DataFrame]:
    """Of the tables of the other notebooks those that pages of the report quote."""
    fold = predictions.select(predicted, "test").set_index("image_id")["fold"]
    sizes = pd.crosstab(index["image_id"].map(fold), index["dx"]).reindex(columns=CLASSES, fill_value=0)
    metrics = ("balanced_accuracy", "accuracy", "macro_f1", "macro_auc")
    found = {
        "explore/image_sizes": pd.DataFrame({"width": [600], "height": [450], "images": [len(index)], "share": [1.0]}),
        "explore/missing_values": exploration.missing_values(index).reset_index(),
        "explore/dx_type": exploration.confirmation_counts(index).reset_index(),
        "explore/redness_comparisons": pd.DataFrame(
            {"comparison": ["nv by follow-up against nv by histopathology"], "auc": [0.9]}
        ),
        "balance/folds": sizes.rename_axis(index="fold", columns=None).reset_index(),
        "balance/duplicates": pd.DataFrame({"image_id": ["a", "b", "c"], "confirmed": [True, False, True]}),
        "balance/strategies": pd.DataFrame({"strategy": chosen.balance.strategies}),
        "explain/cases": pd.DataFrame({"case": ["right", "wrong", "wrong"], "image_id": ["a", "b", "c"]}),
        "explain/sanity": pd.DataFrame({"step": [0, 1], "images": [32, 32], "spearman": [1.0, 0.1]}),
        "leakage/changes": pd.DataFrame(
            [
                (head, part, "balanced_accuracy", change)
                for head, changes in LEAKS.items()
                for part, change in zip(("all", "exposed"), changes, strict=True)
            ],
            columns=["head", "part", "metric", "change"],
        ),
        "leakage/original": pd.DataFrame(
            {
                "head": list(LEAKS),
                "part": "all",
                "metric": "balanced_accuracy",
                "change": 0.05,
                "low": -0.01,
                "high": 0.1,
            }
        ),
    }
    if chosen.data.external is not None:
        names = [*MODELS, "ensemble"]
        numbers = {"out_of_fold": 0.6, "external": 0.7, "difference": 0.1}
        reach = {"": 0, "_low": -0.05, "_high": 0.05}
        columns = {f"{key}{end}": value + far for key, value in numbers.items() for end, far in reach.items()}
        found["external/against"] = pd.DataFrame({"model": names} | columns)
        found["external/scores"] = pd.DataFrame(
            [(name, metric, "", 0.5, 0.4, 0.6) for name in names for metric in metrics],
            columns=["model", "metric", "class", "estimate", "low", "high"],
        )
    return found


def _figure(folder: Path, name: str) -> None:
    """A figure as the stages write them."""
    style.use_style()
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    style.save(figure, folder, name)
