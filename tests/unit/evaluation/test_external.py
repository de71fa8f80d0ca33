"""The models on the external set: the tables, and the intervals in them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skinlesions.core import files
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.core.names import DESCRIBED, ENSEMBLE
from skinlesions.data import isic_csv
from skinlesions.evaluation import bootstrap, external, submission
from tests.helpers.external_sets import DX, external_set, made_up

RESAMPLING = bootstrap.Resampling(confidence=0.95, resamples=50, seed=4)


@pytest.fixture
def chosen(tmp_path) -> external.ExternalSet:
    """An external set of a few images."""
    return external_set(tmp_path)


def test_none_asked_for_is_none_found(tmp_path):
    files.write_json(tmp_path / "source.json", {"images": 0})
    assert external.read(tmp_path) is None


# --- tables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", bootstrap.METHODS)
def test_scores_are_those_of_the_command_and_models_keep_their_order(tmp_path, method):
    resampling = replace(RESAMPLING, interval_method=method)
    folds, out_of_fold = made_up(tmp_path, {"worse": 0.5, ENSEMBLE: 2.0, "better": 4.0})
    tables = external.tables(tmp_path, folds, out_of_fold, resampling)
    for model in ("worse", ENSEMBLE, "better"):
        own = tables["scores"].query("model == @model").drop(columns=["model", *DESCRIBED]).reset_index(drop=True)
        scores, _ = submission.report(
            tmp_path / f"{model}.csv",
            tmp_path / external.GROUND_TRUTH,
            confidence=resampling.confidence,
            resamples=resampling.resamples,
            seed=resampling.seed,
            method=method,
        )
        pd.testing.assert_frame_equal(own, scores)
    for name in ("scores", "against", "recalls", "confusion"):
        assert list(dict.fromkeys(tables[name]["model"])) == ["worse", ENSEMBLE, "better"], name


FOREIGN = {"B2": "SCC", "B1": "SCC", "C": "UNK"}


def test_answers_to_what_is_none_of_the_seven_are_counted_with_their_probabilities(tmp_path):
    folds, out_of_fold = made_up(tmp_path, {"vgg16": 3.0, ENSEMBLE: 3.0}, foreign=FOREIGN)
    tables = external.tables(tmp_path, folds, out_of_fold, RESAMPLING)
    table = tables["out_of_scope"]
    assert (tables["scores"].query("metric == 'accuracy'")["estimate"] <= 1).all(), "they are in no score"
    for model in ("vgg16", ENSEMBLE):
        answers = isic_csv.read(tmp_path / external.foreign_file(model)).set_index("image")
        for diagnosis, images in (("SCC", ["B1", "B2"]), ("UNK", ["C"])):
            own = answers.loc[images, list(CLASSES)]
            rows = table[(table["model"] == model) & (table["diagnosis"] == diagnosis)].set_index("predicted")
            assert rows.loc["", "images"] == len(images)
            assert rows.loc["", "probability"] == pytest.approx(own.max(axis=1).mean())
            assert rows.drop(index="")["images"].to_dict() == own.idxmax(axis=1).value_counts().to_dict()
            assert rows.drop(index="")["share"].sum() == pytest.approx(1)
        inside = isic_csv.probabilities(isic_csv.read(tmp_path / f"{model}.csv"))
        row = table[(table["model"] == model) & (table["diagnosis"] == "")]
        assert row["probability"].tolist() == pytest.approx([inside.max(axis=1).mean()])
    (tmp_path / external.OUT_OF_SCOPE).unlink()
    with pytest.raises(UserError, match=r"out_of_scope\.csv does not exist"):
        external.tables(tmp_path, folds, out_of_fold, RESAMPLING)


def test_without_such_images_there_is_no_table_of_them(tmp_path):
    folds, out_of_fold = made_up(tmp_path, {"vgg16": 3.0})
    assert "out_of_scope" not in external.tables(tmp_path, folds, out_of_fold, RESAMPLING)


def test_every_table_repeats_how_its_models_were_trained(tmp_path):
    folds, out_of_fold = made_up(tmp_path, {"vgg16": 3.0, "resnet50": 2.0, ENSEMBLE: 3.0}, foreign=FOREIGN)
    before = folds.copy()
    tables = external.tables(tmp_path, folds, out_of_fold, RESAMPLING)
    for name, table in tables.items():
        assert list(table.columns[:3]) == ["model", *DESCRIBED], name
        assert (table["training"] == "training of " + table["model"]).all(), name
        assert (table["initialisation"] == "weights of " + table["model"]).all(), name
    pd.testing.assert_frame_equal(folds, before)


def test_out_of_fold_and_external_stand_side_by_side(tmp_path):
    folds, out_of_fold = made_up(tmp_path, {"vgg16": 3.0, ENSEMBLE: 3.0})
    row, whole = external.tables(tmp_path, folds, out_of_fold, RESAMPLING)["against"].to_dict("records")
    assert (row["out_of_fold"], row["single_networks"]) == (0.6, pytest.approx(0.6))
    assert np.isnan(whole["single_networks"])
    predicted = isic_csv.probabilities(isic_csv.read(tmp_path / "vgg16.csv")).argmax(axis=1)
    hits = np.array(DX) == np.array(CLASSES)[predicted]
    recalls = [hits[np.array(DX) == dx].mean() for dx in ("mel", "nv", "bcc", "df")]
    assert row["external"] == pytest.approx(np.mean(recalls))
    assert row["difference"] == pytest.approx(row["external"] - 0.6)
    assert row["external_low"] < row["external"] <= row["external_high"]


def test_the_row_order_of_the_files_does_not_matter(tmp_path):
    folds, out_of_fold = made_up(tmp_path, {"vgg16": 1.0})
    before = external.tables(tmp_path, folds, out_of_fold, RESAMPLING)
    for name in ("vgg16.csv", external.GROUND_TRUTH):
        header, *rows = (tmp_path / name).read_text().splitlines()
        (tmp_path / name).write_text("\n".join([header, *reversed(rows)]) + "\n")
    for name, table in external.tables(tmp_path, folds, out_of_fold, RESAMPLING).items():
        pd.testing.assert_frame_equal(table, before[name])


# --- intervals --------------------------------------------------------------------------------------------------


def test_wilson_intervals_agree_with_scipy():
    from scipy.stats import binomtest

    for hits, count in ((0, 1), (1, 1), (3, 3), (7, 20), (500, 1000)):
        known = binomtest(hits, count).proportion_ci(0.95, method="wilson")
        assert external.wilson(hits / count, count, 0.95) == pytest.approx((known.low, known.high))


def test_one_lucky_image_does_not_look_certain():
    """A bootstrap of a class with one image has no width; the interval of its recall has."""
    labels, groups = np.array([3]), np.array(["a"])
    draws = bootstrap.bootstrap(labels, np.eye(7)[labels], bootstrap.lesion_resamples(groups, labels, 50, 0))
    assert bootstrap.percentile_interval(draws["recall_df"], 0.95) == (1, 1)
    low, high = external.wilson(1.0, 1, 0.95)
    assert low < 0.25 and high == 1


def test_the_interval_of_a_mean_covers_as_often_as_it_says():
    generator = np.random.default_rng(1)
    chances, counts = np.array([0.8, 0.6, 0.7, 0.9]), np.array([3, 10, 30, 120])
    covered = []
    for hits in generator.binomial(counts, chances, size=(600, 4)):
        lows, highs = zip(*(external.wilson(k / n, n, 0.95) for k, n in zip(hits, counts, strict=True)), strict=True)
        low, high = external.mean_interval(hits / counts, np.array(lows), np.array(highs))
        covered.append(low <= chances.mean() <= high)
    assert 0.92 <= np.mean(covered) <= 0.99


def test_symmetric_intervals_combine_as_standard_errors_do():
    values, reach = np.array([0.5, 0.7]), np.array([0.03, 0.04])
    assert external.mean_interval(values, values - reach, values + reach) == pytest.approx((0.575, 0.625))
    low, high = external.difference_interval(0.7, (0.66, 0.74), 0.5, (0.47, 0.53))
    assert (low, high) == pytest.approx((0.15, 0.25))
