"""Scores by group: each is what scikit-learn gives on the images of the group alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from skinlesions.core import files, names
from skinlesions.core.classes import CLASSES, MALIGNANT, class_indices
from skinlesions.data import predictions, records
from skinlesions.evaluation import attributes, subgroups, thresholds
from skinlesions.evaluation.bootstrap import lesion_resamples
from skinlesions.evaluation.metrics import softmax
from tests.helpers.scores import part
from tests.helpers.studies import with_metadata
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

NV, MEL = CLASSES.index("nv"), CLASSES.index("mel")


def made_up(index: pd.DataFrame, logits: np.ndarray, limit: float = 0.4) -> subgroups.Scored:
    probabilities = softmax(logits)
    return subgroups.Scored(
        labels=class_indices(index["dx"]).to_numpy(),
        lesions=index["lesion_id"].to_numpy(),
        probabilities=probabilities,
        predicted=probabilities.argmax(axis=1),
        called=thresholds.scores(probabilities, MALIGNANT) >= limit,
        attributes=attributes.attributes(index["image_id"], records.metadata_table(index)),
    )


def resamples(sample: subgroups.Scored, count: int = 200) -> np.ndarray:
    return lesion_resamples(sample.lesions, sample.labels, count, seed=4)


@pytest.fixture(scope="module")
def index() -> pd.DataFrame:
    return with_metadata(synthetic_index(dict.fromkeys(CLASSES, 60) | {"nv": 240}))


@pytest.fixture(scope="module")
def sample(index) -> subgroups.Scored:
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(len(index), 7))
    logits[np.arange(len(index)), class_indices(index["dx"])] += 1.5
    return made_up(index, logits)


@pytest.fixture(scope="module")
def results(sample) -> dict[str, pd.DataFrame]:
    return subgroups.tables(sample, resamples(sample), 0.95)


def test_scores_agree_with_scikit_learn_on_the_images_of_the_group(sample, results):
    table = results["group_scores"].set_index(["attribute", "group", "metric"])["value"].sort_index()
    predicted = sample.predicted
    malignant = np.isin(sample.labels, class_indices(pd.Series(MALIGNANT)))
    groups = {"sex": "female", "age": "45–59", "localization": "scalp", "dx_type": "histo", "all": "all images"}
    for attribute, group in groups.items():
        rows = (sample.attributes.assign(all="all images")[attribute] == group).to_numpy()
        labels, probabilities = sample.labels[rows], sample.probabilities[rows]
        score = probabilities[:, [CLASSES.index(name) for name in MALIGNANT]].sum(axis=1)
        expected = {
            "balanced_accuracy": reference.recall_score(
                labels, predicted[rows], average="macro", labels=np.unique(labels), zero_division=0
            ),
            "macro_auc": np.mean(
                [reference.roc_auc_score(labels == k, probabilities[:, k]) for k in np.unique(labels)]
            ),
            "malignant_auc": reference.roc_auc_score(malignant[rows], score),
            "recall_mel": reference.recall_score(labels == MEL, predicted[rows] == MEL),
            "sensitivity": reference.recall_score(malignant[rows], sample.called[rows]),
            "specificity": reference.recall_score(~malignant[rows], ~sample.called[rows]),
        }
        assert table[attribute, group].to_dict() == pytest.approx(expected)


def test_all_images_come_first_and_are_compared_with_nothing(results):
    for name in ("groups", "group_scores"):
        assert tuple(results[name].loc[0, ["attribute", "group"]]) == (names.ALL, names.ALL_IMAGES)
    assert names.ALL not in set(results["group_differences"]["attribute"])


def test_the_answers_need_not_be_the_most_probable_classes(index, sample, results):
    """Balanced accuracy and recall follow the answers; sensitivity, specificity and areas do not."""
    answered = replace(sample, predicted=sample.labels)
    table = subgroups.tables(answered, resamples(sample, 20), 0.95)["group_scores"]
    assert (table[table["metric"].isin(["balanced_accuracy", "recall_mel"])]["value"] == 1).all()
    for metric in ("macro_auc", "malignant_auc", "sensitivity", "specificity"):
        same = [one[one["metric"] == metric]["value"].tolist() for one in (table, results["group_scores"])]
        assert same[0] == same[1]


def test_differences_are_from_all_other_images(sample, results):
    row = results["group_differences"].set_index(["attribute", "group", "metric"]).loc[("sex", "male", "sensitivity")]
    malignant = np.isin(sample.labels, class_indices(pd.Series(MALIGNANT)))
    male = (sample.attributes["sex"] == "male").to_numpy()
    rates = [sample.called[malignant & part].mean() for part in (male, ~male)]
    assert row["difference"] == pytest.approx(rates[0] - rates[1])
    assert row["low"] < row["difference"] < row["high"]


def test_a_group_on_which_the_model_is_worse_stands_out_and_its_like_do_not(index):
    logits = 4.0 * np.eye(7)[class_indices(index["dx"])]
    logits += np.random.default_rng(2).normal(size=logits.shape)
    face = (index["localization"] == "face").to_numpy()
    logits[face] = np.random.default_rng(3).normal(size=(face.sum(), 7))
    sample = made_up(index, logits)
    results = subgroups.tables(sample, resamples(sample), 0.95)
    differences = results["group_differences"].set_index(["attribute", "group", "metric"])
    assert differences.loc[("localization", "face", "balanced_accuracy"), "high"] < -0.3
    for sex in ("female", "male"):
        row = differences.loc[("sex", sex, "balanced_accuracy")]
        assert row["low"] <= 0 <= row["high"]


def test_groups_say_what_they_hold(index, results):
    row = results["groups"].set_index(["attribute", "group"]).loc[("sex", "female")]
    own = index[index["sex"] == "female"]
    assert (row["images"], row["lesions"]) == (len(own), own["lesion_id"].nunique())
    melanomas = own[own["dx"] == "mel"]["lesion_id"].nunique()
    assert f"mel {melanomas}" in row["classes"].split(", ")
    sizes = results["groups"].groupby("attribute")["images"].sum()
    assert (sizes == len(index)).all()


def test_small_groups_are_marked_by_the_lesions_that_each_score_rests_on(index, results):
    table = results["group_scores"]
    own = table[table["metric"].isin(["recall_mel", "sensitivity", "specificity"])]
    assert ((own["lesions"] < names.MINIMUM_LESIONS) == (own["small"] == "yes")).all()
    assert set(own["small"]) == {"yes", "no"}
    scalp = table.query("group == 'scalp' and metric == 'balanced_accuracy'").iloc[0]
    rarest = index[index["localization"] == "scalp"].groupby("dx")["lesion_id"].nunique().min()
    assert rarest < names.MINIMUM_LESIONS and scalp["small"] == "yes"


def test_scores_without_images_are_left_out(index):
    only = index[index["dx"].isin(["nv", "df"])].reset_index(drop=True)
    sample = made_up(only, np.random.default_rng(0).normal(size=(len(only), 7)))
    table = subgroups.tables(sample, resamples(sample), 0.95)["group_scores"]
    assert not set(table["metric"]) & {"recall_mel", "sensitivity", "malignant_auc"}
    assert not table["value"].isna().any()


def test_nevi_by_confirmation(sample, results):
    table = results["nevi"].set_index("dx_type")
    predicted = sample.predicted
    for kind in ("histo", "follow_up"):
        rows = (sample.labels == NV) & (sample.attributes["dx_type"] == kind).to_numpy()
        assert table.loc[kind, "images"] == rows.sum()
        assert table.loc[kind, "recall"] == pytest.approx((predicted[rows] == NV).mean())
        assert table.loc[kind, "specificity"] == pytest.approx((~sample.called[rows]).mean())
    change = table.loc["histo less follow_up"]
    assert change["recall"] == pytest.approx(table.loc["histo", "recall"] - table.loc["follow_up", "recall"])


def test_the_same_sample_gives_the_same_tables(sample, results):
    again = subgroups.tables(sample, resamples(sample), 0.95)
    for name, table in results.items():
        assert files.csv_bytes(again[name]) == files.csv_bytes(table), name


def test_what_a_model_calls_malignant_is_decided_on_its_validation_images():
    index = with_metadata(synthetic_index())
    table = synthetic_predictions(index)
    test, val = (part(table, split) for split in predictions.SPLITS)
    ids = predictions.select(table, "test")["image_id"]
    sample = subgroups.scored(test, val, ids, records.metadata_table(index), specificity=0.8)
    limits = thresholds.fold_thresholds(val, MALIGNANT, "specificity", 0.8)
    assert (sample.called == thresholds.called(test, MALIGNANT, limits)).all()
    assert (sample.predicted == test.probabilities.argmax(axis=1)).all()
    other = subgroups.scored(test, val, ids, records.metadata_table(index), predicted=test.labels)
    assert (other.predicted == test.labels).all()
    assert list(sample.attributes["sex"]) == list(index.set_index("image_id").loc[ids, "sex"])
    results = subgroups.tables(sample, resamples(sample, 20), 0.95)
    assert results["groups"].query("attribute == 'sex'")["images"].sum() == len(index)


def test_a_score_of_one_lesion_has_no_interval(index, sample):
    mel, scalp = sample.labels == MEL, (index["localization"] == "scalp").to_numpy()
    first = sample.lesions[mel & scalp][0]
    sites = index["localization"].where(~(mel & scalp) | (sample.lesions == first), "back")
    one = replace(sample, attributes=sample.attributes.assign(localization=sites))
    scores = subgroups.tables(one, resamples(one), 0.95)["group_scores"].set_index(["group", "metric"])
    row = scores.loc[("scalp", "recall_mel")]
    assert row["lesions"] == 1 and row["small"] == "yes" and row[["low", "high"]].isna().all()
    assert scores.drop(("scalp", "recall_mel"))["low"].notna().all()
