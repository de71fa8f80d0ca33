"""Gathers what the stages left in data/ into the folder that is published."""

import html
import itertools
import os
import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from skinlesions.core import files, notebooks, paths, tables
from skinlesions.core.config import Params
from skinlesions.core.errors import UserError
from skinlesions.data import balancing, predictions, records
from skinlesions.report import contents, provenance, site
from skinlesions.report.chapters import Chapter, chapters

NOTICE_ID = "notice"


def publish(data: Path, target: Path, parameters: Params) -> None:
    """Write the report of the results in `data` to `target`, whole or not at all; the same results, the same bytes.

    Args:
        data: the folder with one folder per stage.
        target: replaced if it exists; a file in it that is not as a report has put it there is moved to build/kept/.
        parameters: those of the run; they say which models and backbones belong to it.

    Raises:
        UserError: a stage's output is absent or not what it should be.
    """
    partial, old = (target.with_name(f".{target.name}.{suffix}.tmp") for suffix in ("new", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(data, partial, parameters)
        contents.write(partial)
        _keep_foreign(target)
        # The old report goes at once, and not file by file: killed at any moment, this leaves no mixture of the two.
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            os.replace(target, old)
        os.replace(partial, target)
    finally:
        for folder in (partial, old):
            shutil.rmtree(folder, ignore_errors=True)


def _write(data: Path, target: Path, parameters: Params) -> None:
    """Write everything into the empty folder `target`."""
    models = list(parameters.models)
    record = provenance.collect(data, parameters)
    is_sample = record["data"]["source"] == "sample"
    notice = record["data"]["note"] or ("Synthetic sample: the numbers mean nothing." if is_sample else "")
    metrics = {"compare": files.read_json(_existing(data / "compare" / "metrics.json")), "train": {}}
    documents: list[tuple[Chapter, NotebookNode]] = []

    for chapter in chapters(models):
        source = data / chapter.folder
        document = notebooks.read(_existing(source / f"{chapter.source}.ipynb"))
        documents.append((chapter, document))
        copy = _with_notice(document, notice) if notice else document
        files.write_bytes(target / "notebooks" / f"{chapter.page}.ipynb", notebooks.notebook_bytes(copy))
        for kind, suffixes in (("figures", (".png", ".svg")), ("tables", (".csv",))):
            for path in sorted((source / kind).glob("*")):
                if path.suffix in suffixes:
                    files.write_bytes(target / kind / chapter.folder / path.name, path.read_bytes())
    for model in models:
        metrics["train"][model] = files.read_json(_existing(data / "train" / model / "metrics.json"))
    # What the tables of the comparison need beside the predictions.
    run = records.of_run(data, models)
    for model, table in run.models.items():
        predictions.write(target / "predictions" / f"{model}.csv.gz", table)
    files.write_json(target / "predictions" / records.DESCRIPTIONS, run.descriptions)
    balancing.write(target / "predictions" / records.PLAN, run.plan)
    files.write_csv(target / "predictions" / records.METADATA, run.metadata)
    for path in sorted((data / "external" / "predictions").glob("*.csv")):
        files.write_bytes(target / "predictions" / "external" / path.name, path.read_bytes())
    listed = [path.relative_to(target / "tables").as_posix() for path in (target / "tables").rglob("*.csv")]
    files.write_text(target / "tables" / "README.md", tables.readme(listed))
    files.write_json(target / "metrics.json", metrics)
    files.write_json(target / "provenance.json", record)
    site.write(target, documents, parameters, record, notice)


def _keep_foreign(target: Path) -> None:
    """Move what somebody has put or edited in the old report to build/kept/, and say so.

    An old report without a list of its files is taken as it is.
    """
    for name in contents.foreign(target):
        place = target.parent / "build" / "kept" / name
        copies = itertools.count(2)
        kept = place
        while os.path.lexists(kept):  # of an earlier report
            kept = place.with_name(f"{place.stem}-{next(copies)}{place.suffix}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(target / name, kept)
        print(f"{target.name}/{name} is not as the report had it; it is now {paths.relative(kept)}", flush=True)


def _with_notice(document: NotebookNode, notice: str) -> NotebookNode:
    """A copy of `document` that says `notice` before anything else."""
    cell = nbformat.v4.new_markdown_cell(f"> **{html.escape(notice)}**", id=NOTICE_ID)
    return NotebookNode({**document, "cells": [cell, *document.cells]})


def _existing(path: Path) -> Path:
    """`path`, which a stage before this one should have written."""
    if not path.exists():
        raise UserError(f"{paths.relative(path)} does not exist; `dvc repro` makes what the report needs")
    return path
