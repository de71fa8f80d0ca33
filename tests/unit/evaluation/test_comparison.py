import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from skinlesions.core import files
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.core.names import DESCRIBED, INTERVAL_METRICS
from skinlesions.data import predictions
from skinlesions.evaluation import calibration, comparison, study
from skinlesions.evaluation.bootstrap import bootstrap, lesion_resamples
from skinlesions.evaluation.metrics import OVERALL_METRICS, softmax, summary
from skinlesions.evaluation.published import CLAIMS, PROTOCOL
from tests.helpers.studies import SETTINGS, described, study_of
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

# No resample is on the other side of zero, and the sample itself counts as one more.
LEAST_P_VALUE = 2 / (SETTINGS.test_resamples + 1)


def compared(models: dict[str, pd.DataFrame], **changed: object) -> dict[str, pd.DataFrame]:
    """The tables of `models` as the pipeline makes them, under SETTINGS with some `changed`."""
    return study.tables(study_of(models), SETTINGS.model_copy(update=changed))


@pytest.fixture(scope="module")
def models() -> dict[str, pd.DataFrame]:
    index = synthetic_index()
    return {
        "vgg16": synthetic_predictions(index, 1.0, seed=1),
        "resnet50": synthetic_predictions(index, 1.8, seed=2),
        "baseline_cnn": synthetic_predictions(index, 0.4, seed=3),
    }


@pytest.fixture(scope="module")
def tables(models) -> dict[str, pd.DataFrame]:
    return compared(models)


def test_one_row_per_model_best_first_and_the_reference_last(tables):
    table = tables["comparison"]
    assert set(table["model"]) == {"vgg16", "resnet50", "baseline_cnn", "ensemble", "stacked", "always_nv"}
    assert table["model"].iloc[-1] == "always_nv"
    assert table["balanced_accuracy"].iloc[:-1].is_monotonic_decreasing


def test_estimates_are_the_metrics_and_lie_in_their_intervals(models, tables):
    test = predictions.select(models["vgg16"], "test")
    expected = summary(predictions.labels(test), softmax(predictions.logits(test)))
    row = tables["comparison"].set_index("model").loc["vgg16"]
    assert {name: row[name] for name in OVERALL_METRICS} == {name: expected[name] for name in OVERALL_METRICS}
    for metric in INTERVAL_METRICS:
        assert row[f"{metric}_low"] < row[metric] < row[f"{metric}_high"]


def test_the_reference_calls_everything_a_nevus(models, tables):
    row = tables["comparison"].set_index("model").loc["always_nv"]
    dx = predictions.select(models["vgg16"], "test")["dx"]
    assert row["accuracy"] == pytest.approx((dx == "nv").mean())
    assert [row[f"balanced_accuracy{end}"] for end in ("", "_low", "_high")] == pytest.approx([1 / 7] * 3)
    assert row[["macro_auc", "nll", "brier", "ece"]].isna().all()


def test_the_ensemble_is_the_mean_of_calibrated_probabilities(models, tables):
    mean = np.mean([calibration.probabilities(table, "test", "temperature") for table in models.values()], axis=0)
    labels = predictions.labels(predictions.select(models["vgg16"], "test"))
    row = tables["comparison"].set_index("model").loc["ensemble"]
    assert row["nll"] == pytest.approx(reference.log_loss(labels, mean, labels=range(7)))
    assert row["accuracy"] == pytest.approx((mean.argmax(axis=1) == labels).mean())


def test_differences_are_paired(models, tables):
    table = tables["differences"].set_index(["model", "other"])
    assert len(table) == 10  # pairs of three models and two ensembles
    assert (table["difference"] >= 0).all()
    row = table.loc[("resnet50", "baseline_cnn")]
    truth = predictions.select(models["vgg16"], "test")
    labels = predictions.labels(truth)
    weights = lesion_resamples(truth["group"].to_numpy(), labels, SETTINGS.test_resamples, SETTINGS.seed)
    draws = [
        bootstrap(labels, softmax(predictions.logits(predictions.select(models[name], "test"))), weights)
        for name in ("resnet50", "baseline_cnn")
    ]
    paired = draws[0]["balanced_accuracy"] - draws[1]["balanced_accuracy"]
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(paired, [0.025, 0.975])))
    assert row["p_value"] == pytest.approx(LEAST_P_VALUE)
    assert (table["p_holm"] >= table["p_value"]).all()
    assert row["p_holm"] == pytest.approx(10 * LEAST_P_VALUE)


def test_a_model_does_not_differ_from_its_copy(models):
    twins = {"a": models["vgg16"], "b": models["vgg16"]}
    table = compared(twins)["differences"].set_index(["model", "other"])
    row = table.loc[("a", "b")]
    assert (row["difference"], row["low"], row["high"], row["p_value"]) == (0, 0, 0, 1)
    assert row["intervals_overlap"] == "yes"


def test_confusion_recalls_and_folds_tell_one_story(models, tables):
    test = predictions.select(models["resnet50"], "test")
    called = np.array(CLASSES)[predictions.logits(test).argmax(axis=1)]
    confusion = tables["confusion"].query("model == 'resnet50'")
    counts = confusion["images"].to_numpy().reshape(7, 7)
    assert (counts == reference.confusion_matrix(test["dx"], called, labels=CLASSES)).all()
    recalls = tables["classes"].query("model == 'resnet50'")
    assert list(recalls["dx"]) == list(CLASSES)
    assert recalls["recall"].to_numpy() == pytest.approx(counts.diagonal() / counts.sum(axis=1))
    assert confusion["share"].to_numpy().reshape(7, 7).sum(axis=1) == pytest.approx(np.ones(7))
    assert recalls["images"].sum() == len(test)
    assert recalls["lesions"].sum() == test["lesion_id"].nunique()
    folds = tables["folds"].query("model == 'resnet50'")
    assert list(folds["fold"]) == [0, 1, 2, 3, 4]
    first = test["fold"] == 0
    expected = reference.recall_score(
        test["dx"][first], called[first], average="macro", labels=sorted(set(test["dx"][first]))
    )
    assert folds["balanced_accuracy"].iloc[0] == pytest.approx(expected)


def test_claims_stand_beside_the_model_of_the_same_name(tables):
    claims = tables["claims"].set_index("model")
    assert list(claims.index) == [claim.model for claim in CLAIMS]
    ours = tables["comparison"].set_index("model")
    assert claims.loc["vgg16", "our_balanced_accuracy"] == ours.loc["vgg16", "balanced_accuracy"]
    assert np.isnan(claims.loc["inception_resnet_v2", "our_accuracy"])
    assert claims.loc["inception_resnet_v2", "claimed_accuracy"] == 0.90
    assert claims["differs"].str.contains("475 of 1,499 validation images (31.7 %)", regex=False).all()
    assert "31.7 %" in PROTOCOL


def test_the_same_predictions_give_the_same_tables_whatever_the_order(models, tables):
    again = compared(dict(reversed(models.items())))
    for name, table in tables.items():
        assert files.csv_bytes(again[name]) == files.csv_bytes(table), name


def test_another_seed_moves_the_intervals_and_nothing_else(models, tables):
    other = compared(models, seed=5)["comparison"]
    assert (other["balanced_accuracy"] == tables["comparison"]["balanced_accuracy"]).all()
    assert (other["balanced_accuracy_low"] != tables["comparison"]["balanced_accuracy_low"]).iloc[:-1].all()


def test_metrics_are_flat_and_finite(tables):
    metrics = comparison.metrics(tables)
    assert set(metrics) == {"vgg16", "resnet50", "baseline_cnn", "ensemble", "stacked"}
    assert files.json_bytes(metrics)
    row = tables["comparison"].set_index("model").loc["resnet50"]
    assert metrics["resnet50"]["balanced_accuracy"] == pytest.approx(row["balanced_accuracy"], rel=1e-5)


def test_one_model_has_no_ensemble_and_no_differences(models):
    tables = compared({"vgg16": models["vgg16"]})
    assert list(tables["comparison"]["model"]) == ["vgg16", "always_nv"]
    assert len(tables["differences"]) == 0
    assert set(tables["calibration"]["model"]) == {"vgg16"}
    assert "ensembles" not in tables and set(tables["discrimination"]["model"]) == {"vgg16"}


def test_a_small_sample_with_absent_and_never_hit_classes():
    index = synthetic_index({"bcc": 4, "bkl": 4, "mel": 5, "nv": 20, "vasc": 1})
    models = {"a": synthetic_predictions(index, -9.0, seed=1, folds=3), "b": synthetic_predictions(index, 1.0, folds=3)}
    tables = compared(models)
    recalls = tables["classes"].set_index(["model", "dx"])
    assert np.isnan(recalls.loc[("a", "df"), "recall"])
    assert recalls.loc[("a", "mel"), "recall"] == 0
    assert recalls.loc[("a", "df"), "images"] == 0
    assert files.json_bytes(comparison.metrics(tables))


def test_predictions_that_do_not_belong_together_are_refused(models):
    index = synthetic_index()
    fewer = synthetic_predictions(index.iloc[:-1])
    relabelled = synthetic_predictions(index.assign(dx=index["dx"].where(index.index > 0, "df")))
    for other, message in (
        (fewer, "b has .* test images, a has"),
        (relabelled, "b and a differ in dx at test row 1"),
        (synthetic_predictions(index, folds=4), "differ in fold"),
    ):
        with pytest.raises(UserError, match=message):
            compared({"a": models["vgg16"], "b": other})
    with pytest.raises(UserError, match="at least one model"):
        compared({})
    with pytest.raises(UserError, match="'ensemble'"):
        compared({"ensemble": models["vgg16"]})


def test_the_table_says_how_each_model_was_trained(models):
    known = {name: described(name, training="fine-tuned") for name in models}
    table = study.tables(study_of(models, descriptions=known), SETTINGS)["comparison"].set_index("model")
    assert table.loc["vgg16", list(DESCRIBED)].tolist() == ["fine-tuned", "ImageNet"]
    assert table.loc["ensemble", list(DESCRIBED)].tolist() == ["mean of 3 models", "–"]
    assert table.loc["stacked", list(DESCRIBED)].tolist() == ["stacked on 3 models", "–"]
    assert table.loc["always_nv", list(DESCRIBED)].tolist() == ["–", "–"]


def test_the_ensemble_has_the_members_it_is_told(models):
    members = ["vgg16", "resnet50"]
    table = compared(models, ensemble=members)["comparison"].set_index("model")
    pair = compared({name: models[name] for name in members})["comparison"].set_index("model")
    assert table.loc["ensemble", "nll"] == pytest.approx(pair.loc["ensemble", "nll"])
    assert set(table.index) == {*models, "ensemble", "stacked", "always_nv"}
    with pytest.raises(UserError, match="the ensemble has the member 'alexnet', which is not among baseline_cnn"):
        compared(models, ensemble=["alexnet", "vgg16"])


def test_more_resamples_allow_smaller_p_values(models):
    few = compared(models)["differences"]
    many = compared(models, test_resamples=2000)["differences"]
    assert few["p_value"].min() == pytest.approx(LEAST_P_VALUE) and many["p_value"].min() == pytest.approx(2 / 2001)


def test_every_class_is_scored_against_the_rest(models, tables):
    test = predictions.select(models["vgg16"], "test")
    probabilities = softmax(predictions.logits(test))
    called = np.array(CLASSES)[probabilities.argmax(axis=1)]
    rows = tables["classes"].query("model == 'vgg16'").set_index("dx")
    precision, recall, f1, images = reference.precision_recall_fscore_support(test["dx"], called, labels=CLASSES)
    assert rows["precision"].to_numpy() == pytest.approx(precision)
    assert rows["recall"].to_numpy() == pytest.approx(recall)
    assert rows["f1"].to_numpy() == pytest.approx(f1)
    assert rows["images"].tolist() == images.tolist()
    for k, name in enumerate(CLASSES):
        of_class = (test["dx"] == name).to_numpy()
        row = rows.loc[name]
        assert row["auc"] == pytest.approx(reference.roc_auc_score(of_class, probabilities[:, k]))
        assert row["average_precision"] == pytest.approx(
            reference.average_precision_score(of_class, probabilities[:, k])
        )
        assert row["specificity"] == pytest.approx(reference.recall_score(~of_class, called != name))
        assert row["auc_low"] < row["auc"] < row["auc_high"]


def test_the_intervals_are_of_the_method_that_is_asked_for(models, tables):
    corrected = compared(models, interval_method="bca")
    for name in ("comparison", "differences", "classes"):
        same, changed = tables[name], corrected[name]
        low = "low" if name == "differences" else "balanced_accuracy_low" if name == "comparison" else "recall_low"
        assert (changed[low] != same[low]).any(), name
        estimates = [column for column in same if not column.endswith(("low", "high"))]
        pd.testing.assert_frame_equal(changed[estimates], same[estimates])
