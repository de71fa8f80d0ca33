"""Every model on the external set: one file of probabilities each."""

import numpy as np
import pytest

from skinlesions.core import paths
from skinlesions.core.errors import UserError
from skinlesions.core.names import ENSEMBLE
from skinlesions.data import images, isic_csv, predictions
from skinlesions.evaluation import calibration, metrics
from skinlesions.evaluation.external import GROUND_TRUTH, OUT_OF_SCOPE, foreign_file
from skinlesions.inference import external, predictor
from tests.helpers import trained_models
from tests.helpers.external_sets import DX, external_set


@pytest.fixture
def chosen(tmp_path):
    """An external set of a few images."""
    return external_set(tmp_path)


def scaled(own: predictor.Predictor, name: str, pixels: np.ndarray) -> np.ndarray:
    """The mean probabilities of the networks of all folds, each with its own temperature."""
    temperatures = calibration.fold_temperatures(predictions.read(paths.TRAIN / name / "predictions.csv"))
    scales = np.array([temperatures[fold] for fold in range(own.description.folds)])
    return metrics.softmax(own.logits(pixels) / scales[:, None, None]).mean(axis=0)


def test_every_model_scores_every_image_by_networks_scaled_by_their_temperatures(chosen, tmp_path, monkeypatch):
    trained_models.use_folder(tmp_path, monkeypatch)
    monkeypatch.setattr(external, "CHUNK", 3)  # the last chunk is not full
    models = list(trained_models.MODELS)
    for seed, name in enumerate(models):
        trained_models.write(trained_models.MODELS[name], seed)
    target = tmp_path / "predictions"
    folds = external.predict(chosen, models, "all", target, tmp_path / "partial")

    expected = []
    for name in models:
        own = predictor.load(name)
        how = own.description
        sources = [chosen.folder / "images" / f"{image_id}.jpg" for image_id in chosen.table["image_id"]]
        pixels = np.stack([images.read(path, how.prepared_size, how.fit) for path in sources])
        expected.append(scaled(own, name, pixels))
        single = metrics.softmax(own.logits(pixels))
        own = [metrics.summary(chosen.labels, values)["balanced_accuracy"] for values in single]
        assert folds[folds["model"] == name]["balanced_accuracy"].tolist() == pytest.approx(own)
    expected.append(np.mean(expected, axis=0))
    for name, values in zip([*models, ENSEMBLE], expected, strict=True):
        written = isic_csv.read(target / f"{name}.csv")
        assert written["image"].tolist() == chosen.table["image_id"].tolist()
        assert isic_csv.probabilities(written) == pytest.approx(values, abs=2e-6)
    assert isic_csv.read_ground_truth(target / GROUND_TRUTH)["dx"].tolist() == DX
    assert not list((tmp_path / "partial").iterdir())

    external.predict(chosen, models[:1], "all", tmp_path / "one", tmp_path / "partial")
    assert not (tmp_path / "one" / f"{ENSEMBLE}.csv").exists(), "one model is no ensemble"


def test_a_model_on_an_embedding_is_left_out_and_with_it_the_mean(chosen, tmp_path, monkeypatch):
    trained_models.use_folder(tmp_path, monkeypatch)
    for seed, description in enumerate([trained_models.MODELS["scratch"], trained_models.GIVEN]):
        trained_models.write(description, seed)
    target = tmp_path / "predictions"
    folds = external.predict(chosen, ["scratch", "given"], "all", target, tmp_path / "partial")
    assert set(folds["model"]) == {"scratch"}
    assert sorted(path.name for path in target.iterdir()) == sorted(["scratch.csv", GROUND_TRUTH])


def test_images_that_are_none_of_the_seven_are_answered_apart(tmp_path, monkeypatch):
    chosen = external_set(tmp_path, foreign={"X_1": "SCC", "X_2": "UNK"})
    trained_models.use_folder(tmp_path, monkeypatch)
    name = next(iter(trained_models.MODELS))
    trained_models.write(trained_models.MODELS[name], 0)
    target = tmp_path / "predictions"
    external.predict(chosen, [name], "all", target, tmp_path / "partial")
    own = predictor.load(name)
    sources = [chosen.folder / "images" / f"{image_id}.png" for image_id in ("X_1", "X_2")]
    pixels = np.stack([images.read(path, own.description.prepared_size, own.description.fit) for path in sources])
    answers = isic_csv.read(target / foreign_file(name))
    assert answers["image"].tolist() == ["X_1", "X_2"]
    assert isic_csv.probabilities(answers) == pytest.approx(scaled(own, name, pixels), abs=2e-6)
    assert len(isic_csv.read(target / f"{name}.csv")) == len(DX)
    assert (target / OUT_OF_SCOPE).read_text() == "image_id,lesion_id,diagnosis\nX_1,X_1,SCC\nX_2,X_2,UNK\n"


def test_an_unknown_member_is_refused_before_anything_is_scored(chosen, tmp_path):
    with pytest.raises(UserError, match="the ensemble has the member 'vgg', which is not among vgg16"):
        external.predict(chosen, ["vgg16"], ["vgg16", "vgg"], tmp_path / "predictions", tmp_path / "partial")
    assert not (tmp_path / "predictions").exists() and not (tmp_path / "partial").exists()
