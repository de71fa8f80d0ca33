import gzip

import numpy as np
import pandas as pd
import pytest

from skinlesions.core.classes import CLASSES, LOGIT_COLUMNS
from skinlesions.core.errors import UserError
from skinlesions.data import predictions
from tests.helpers.synthetic import synthetic_index, synthetic_predictions


@pytest.fixture
def table() -> pd.DataFrame:
    return synthetic_predictions(synthetic_index())


@pytest.mark.parametrize("name", ["predictions.csv", "model.csv.gz"])
def test_what_is_written_is_read_back(tmp_path, table, name):
    predictions.write(tmp_path / name, table.sample(frac=1, random_state=1))
    back = predictions.read(tmp_path / name)
    pd.testing.assert_frame_equal(back, table, rtol=1e-5, check_dtype=False)
    assert back["fold"].dtype == np.int64
    first = (tmp_path / name).read_bytes()
    predictions.write(tmp_path / name, back)
    assert (tmp_path / name).read_bytes() == first


def test_compressed_and_plain_hold_the_same(tmp_path, table):
    predictions.write(tmp_path / "a.csv", table)
    predictions.write(tmp_path / "a.csv.gz", table)
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == (tmp_path / "a.csv").read_bytes()


def test_select_labels_and_logits(table):
    test, val = predictions.select(table, "test"), predictions.select(table, "val")
    assert list(test["image_id"]) == list(val["image_id"]) == sorted(set(table["image_id"]))
    assert [CLASSES[k] for k in predictions.labels(test)] == list(test["dx"])
    assert predictions.logits(test).shape == (len(test), 7)
    assert (predictions.logits(test)[:, 5] == test["logit_nv"]).all()
    with pytest.raises(ValueError, match="'train'"):
        predictions.select(table, "train")


def set_cell(line, column, value):
    def change(table):
        return table.assign(**{column: table[column].astype(object).where(table.index != line - 2, value)})

    return change


def swap_rows(table):
    return table.iloc[[1, 0, *range(2, len(table))]]


def split_lesion(table):
    repeated = table[table["split"] == "test"]["lesion_id"].value_counts().index[0]
    image = table.loc[table["lesion_id"] == repeated, "image_id"].iloc[0]
    mine = table["image_id"] == image
    return table.assign(fold=table["fold"].where(~mine, (table["fold"] + 1) % 5))


FAULTS = {
    "columns": (lambda table: table.drop(columns="group"), "has the columns"),
    "order of columns": (lambda table: table[[*LOGIT_COLUMNS, *table.columns[:6]]], "has the columns"),
    "no rows": (lambda table: table.iloc[:0], "no rows"),
    "unknown dx": (set_cell(5, "dx", "naevus"), "line 5: dx is 'naevus'"),
    "unknown split": (set_cell(6, "split", "train"), "line 6: split is 'train'"),
    "text for a fold": (set_cell(7, "fold", "two"), "line 7: fold is 'two'"),
    "fraction of a fold": (set_cell(7, "fold", 1.5), "line 7: fold is '1.5'"),
    "fold too high": (set_cell(7, "fold", 10**9), "line 7: fold is 1000000000"),
    "text for a logit": (set_cell(8, "logit_df", "high"), "line 8: logit_df is 'high'"),
    "infinite logit": (set_cell(8, "logit_mel", np.inf), "line 8: logit_mel is 'inf'"),
    "missing logit": (set_cell(8, "logit_mel", np.nan), "line 8: logit_mel is 'nan'"),
    "missing group": (set_cell(9, "group", ""), "line 9: group is empty"),
    "twice": (lambda table: table.iloc[[0, *range(len(table))]], "line 3: image .* a second time with split = test"),
    "unsorted": (swap_rows, "line 3: rows are not sorted"),
    "test row gone": (lambda table: table.iloc[1:], "has split = val only"),
    "labels differ": (lambda table: set_cell(2, "dx", "df" if table["dx"][0] != "df" else "nv")(table), "dx differs"),
    "lesion in two folds": (split_lesion, "lesion_id .* is in two test folds"),
}


@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_are_named_with_file_and_line(tmp_path, table, change, message):
    path = tmp_path / "predictions.csv"
    change(table).to_csv(path, index=False)
    with pytest.raises(UserError, match=message) as error:
        predictions.read(path)
    assert "predictions.csv" in str(error.value)


def test_a_model_validated_on_the_wrong_fold_is_refused(tmp_path, table):
    val = table["split"] == "val"
    wrong = table.assign(fold=table["fold"].where(~val, (table["fold"] + 1) % 5))
    wrong.to_csv(tmp_path / "predictions.csv", index=False)
    with pytest.raises(UserError, match="was validated by model"):
        predictions.read(tmp_path / "predictions.csv")


def test_files_that_are_no_csv(tmp_path):
    with pytest.raises(UserError, match=r"gone\.csv does not exist"):
        predictions.read(tmp_path / "gone.csv")
    for name, content in {
        "empty.csv": b"",
        "broken.csv.gz": b"\x1f\x8b not gzip",
        "bytes.csv": b"\xff\xfe\x00",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            predictions.read(tmp_path / name)


def test_write_refuses_what_read_would_refuse(tmp_path, table):
    with pytest.raises(UserError, match="no column 'group'"):
        predictions.write(tmp_path / "predictions.csv", table.drop(columns="group"))
    with pytest.raises(UserError, match="logit_nv"):
        predictions.write(tmp_path / "predictions.csv", table.assign(logit_nv=np.nan))
    assert not (tmp_path / "predictions.csv").exists()
