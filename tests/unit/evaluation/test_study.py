import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from skinlesions.core import files
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.core.names import leading
from skinlesions.data import balancing, predictions, records
from skinlesions.evaluation import calibration, study
from tests.helpers.studies import PLAN, SETTINGS, described, study_of
from tests.helpers.synthetic import synthetic_index, synthetic_predictions


@pytest.fixture(scope="module")
def models() -> dict[str, pd.DataFrame]:
    index = synthetic_index()
    skills = {"resnet50": 1.8, "vgg16": 1.0}
    return {name: synthetic_predictions(index, skill, seed=len(name)) for name, skill in skills.items()}


@pytest.fixture(scope="module")
def tables(models) -> dict[str, pd.DataFrame]:
    return study.tables(study_of(models), SETTINGS)


def as_run(models: dict[str, pd.DataFrame], data) -> records.Study:
    """The study of `models`, written the way the stages before the comparison leave it."""
    made = study_of(models)
    for name, table in models.items():
        predictions.write(data / "train" / name / "predictions.csv", table)
        files.write_json(data / "train" / name / "model.json", made.descriptions[name])
    balancing.write(data / "balance" / "plan.json", made.plan)
    files.write_csv(data / "prepared" / "index.csv", made.metadata.assign(lesion_id="", dx=""))
    return made


def test_a_run_is_read_as_it_was_written(models, tmp_path):
    made = as_run(models, tmp_path)
    read = records.of_run(tmp_path, models)
    for name in models:
        pd.testing.assert_frame_equal(read.models[name], made.models[name])
    pd.testing.assert_frame_equal(read.metadata, made.metadata)
    assert (read.descriptions, read.plan) == (made.descriptions, made.plan)


@pytest.mark.parametrize("absent", ["balance/plan.json", "prepared/index.csv", "train/vgg16/model.json"])
def test_what_a_run_lacks_is_named(models, tmp_path, absent):
    as_run(models, tmp_path)
    (tmp_path / absent).unlink()
    with pytest.raises(UserError, match=f"{absent} cannot be read.*dvc repro"):
        records.of_run(tmp_path, models)


def test_the_best_single_model_and_the_ensemble_lead(tables):
    assert leading(tables["comparison"]["model"].tolist()) == ["resnet50", "ensemble"]
    alone = tables["comparison"].query("model in ['vgg16', 'always_nv']")
    assert leading(alone["model"].tolist()) == ["vgg16"]
    for name in ("curves", "reliability", "class_calibration"):
        assert set(tables[name]["model"]) == {"resnet50", "ensemble"}, name


def test_decisions_rest_on_the_chosen_calibration(models, tables):
    plain = study.tables(study_of(models), SETTINGS.model_copy(update={"calibrated_by": "as_trained"}))
    pd.testing.assert_frame_equal(plain["comparison"], tables["comparison"])
    assert (plain["discrimination"]["auc"] != tables["discrimination"]["auc"]).any()
    table = models["vgg16"]
    for found, way in ((plain, "as_trained"), (tables, "vector")):
        stated = calibration.probabilities(table, "test", way)
        expected = roc_auc_score(predictions.select(table, "test")["dx"] == "mel", stated[:, CLASSES.index("mel")])
        row = found["discrimination"].query("model == 'vgg16' and task == 'melanoma'").iloc[0]
        assert row["auc"] == pytest.approx(expected)


def test_the_ensemble_of_the_decisions_is_the_mean_of_its_members(models, tables):
    both = [calibration.probabilities(table, "test", "vector") for table in models.values()]
    mean = np.mean(both, axis=0)
    test = predictions.select(models["vgg16"], "test")
    expected = -np.log(mean[np.arange(len(test)), predictions.labels(test)]).mean()
    row = tables["calibration"].query("model == 'ensemble' and way == 'vector'").iloc[0]
    assert row["nll"] == pytest.approx(expected)


def test_a_pair_that_differs_in_its_weights_alone_is_a_transfer(models, tables):
    twin = {"architecture": "resnet50", "initialisation": "random"}
    descriptions = {"resnet50": described("resnet50"), "vgg16": described("vgg16", **twin)}
    table = study.tables(study_of(models, descriptions=descriptions), SETTINGS)["transfer"]
    scores = tables["comparison"].set_index("model")["balanced_accuracy"]
    assert table[["model", "other"]].to_numpy().tolist() == [["resnet50", "vgg16"]]
    assert table["difference"].iloc[0] == pytest.approx(scores["resnet50"] - scores["vgg16"])


@pytest.mark.parametrize("name", ["ensemble", "stacked", "always_nv"])
def test_reserved_names_are_refused(models, name):
    with pytest.raises(UserError, match=f"'{name}'"):
        study.tables(study_of({name: models["vgg16"]}), SETTINGS)


def test_no_models_are_refused():
    with pytest.raises(UserError, match="at least one model"):
        study.tables(records.Study({}, {}, PLAN, pd.DataFrame()), SETTINGS)
