from pathlib import Path

import pandas as pd
import pytest

from skinlesions.core import paths, tables
from skinlesions.core.classes import CLASSES

REGISTERED = tables.registered()


def frame(key: str) -> pd.DataFrame:
    """An empty table with the columns that are registered of `key`."""
    return pd.DataFrame(columns=[name for name in REGISTERED[key].columns if name != tables.OPEN])


def test_every_table_is_described_whole():
    for key, table in REGISTERED.items():
        assert key == f"{table.chapter}/{table.name}"
        assert table.caption.endswith(".") and table.caption[:-1].count(". ") == 0, key
        assert table.rows and table.columns and all(table.columns.values()), key


def test_the_short_forms_of_columns_are_written_out():
    columns = REGISTERED["compare/comparison"].columns
    assert list(columns)[3:6] == ["balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high"]
    assert list(REGISTERED["balance/folds"].columns) == ["fold", *CLASSES]


def test_a_table_is_written_where_its_notebook_has_its_outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    tables.write("train/vgg16", "history", frame("train/history"))
    tables.write("explore", "localization", pd.DataFrame({"dx": ["mel"], "back": [1], "face": [2]}))
    assert (tmp_path / "train/vgg16/tables/history.csv").read_text().startswith("fold,phase,epoch,")
    assert (tmp_path / "explore/tables/localization.csv").read_text() == "dx,back,face\nmel,1,2\n"


@pytest.mark.parametrize(
    ("chapter", "name", "change", "message"),
    [
        ("compare", "folds", lambda table: table.drop(columns="fold"), "compare/folds has no column 'fold'"),
        ("compare", "folds", lambda table: table.assign(bonus=1), "compare/folds has a column 'bonus'"),
        ("compare", "folds", lambda table: table[table.columns[::-1]], "compare/folds has the column 'balanced_acc"),
        ("explore", "localization", lambda table: table.drop(columns="dx"), "explore/localization has no column 'dx'"),
        ("compare", "bonus", lambda table: table, "no table compare/bonus; of this chapter it has comparison"),
        ("bonus", "folds", lambda table: table, "no table bonus/folds"),
    ],
)
def test_another_table_or_column_is_refused_by_name(tmp_path, monkeypatch, chapter, name, change, message):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    known = f"{chapter}/{name}" if f"{chapter}/{name}" in REGISTERED else "compare/folds"
    with pytest.raises(ValueError, match=message):
        tables.write(chapter, name, change(frame(known)))
    assert not list(tmp_path.iterdir())


def test_the_list_of_tables_links_each_to_the_code_that_computes_it():
    text = tables.readme(["compare/folds.csv", "train/vgg16/history.csv"])
    assert text.count("### ") == 2 and "[train/vgg16/history.csv](train/vgg16/history.csv)" in text
    source = tables._source(tables.table("compare", "folds").function)
    assert f"](../../{source.file}#L{source.line})" in text
    lines = Path(paths.ROOT / source.file).read_text().splitlines()
    assert lines[source.line - 1].startswith(f"def {source.function.rpartition('.')[2]}(")
    assert all(f"/{table.name}" in tables.readme() for table in REGISTERED.values())
