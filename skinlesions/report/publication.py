"""Gathers what the stages left in data/ into the folder that is published."""

import html
import os
import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from skinlesions.core import files, notebooks, paths, tables
from skinlesions.core.config import Params
from skinlesions.core.errors import UserError
from skinlesions.data import balancing, predictions, records
from skinlesions.report import provenance, site
from skinlesions.report.chapters import Chapter, chapters

NOTICE_ID = "notice"

# The list of the files of a report, in it: whatever else lies there is somebody's own.
CONTENTS = "contents.json"


def publish(data: Path, target: Path, parameters: Params) -> None:
    """Write the report of the results in `data` to `target`, whole or not at all; the same results, the same bytes.

    Args:
        data: the folder with one folder per stage.
        target: replaced if it exists; a file in it that no report has put there is moved to build/kept/.
        parameters: those of the run; they say which models and backbones belong to it.

    Raises:
        UserError: a stage's output is absent or not what it should be.
    """
    partial = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(data, partial, parameters)
        files.write_json(partial / CONTENTS, sorted([CONTENTS, *_files(partial)]))
        _keep_foreign(target)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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


def _files(folder: Path) -> list[str]:
    """The files below `folder`, relative to it."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _keep_foreign(target: Path) -> None:
    """Move what is in the old report but not of it to build/kept/, and say so; one without a list is taken as it is."""
    if not (target / CONTENTS).is_file():
        return
    for name in sorted(set(_files(target)) - set(files.read_json(target / CONTENTS))):
        kept = target.parent / "build" / "kept" / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(target / name, kept)
        print(f"{target.name}/{name} is not of the report; it is now {paths.relative(kept)}", flush=True)


def _with_notice(document: NotebookNode, notice: str) -> NotebookNode:
    """A copy of `document` that says `notice` before anything else."""
    cell = nbformat.v4.new_markdown_cell(f"> **{html.escape(notice)}**", id=NOTICE_ID)
    return NotebookNode({**document, "cells": [cell, *document.cells]})


def _existing(path: Path) -> Path:
    """`path`, which a stage before this one should have written."""
    if not path.exists():
        raise UserError(f"{paths.relative(path)} does not exist; `dvc repro` makes what the report needs")
    return path
