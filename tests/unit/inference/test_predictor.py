import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from skinlesions.core import paths
from skinlesions.core.errors import UserError
from skinlesions.data import images, predictions
from skinlesions.evaluation import calibration
from skinlesions.evaluation.metrics import softmax
from skinlesions.inference import predictor
from skinlesions.models import networks
from tests.helpers.trained_models import FOLDS, MODELS, describe, use_folder, write

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 48, 48, 3), dtype="uint8")
# float32 sums in another order.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Iterator[None]:
    """The models of MODELS, trained as far as anybody can tell."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_folder(tmp_path_factory.mktemp("project"), monkeypatch)
        for seed, description in enumerate(MODELS.values()):
            write(description, seed)
        yield


@pytest.fixture
def copy(models, tmp_path, monkeypatch):
    """The same models in a folder in which they may be damaged."""
    shutil.copytree(paths.MODELS.parent, tmp_path / "project")
    use_folder(tmp_path / "project", monkeypatch)


def symmetries(squares: np.ndarray) -> list[np.ndarray]:
    """The eight symmetries of the square, from its rows and columns."""
    flipped = [squares, squares[:, ::-1], squares[:, :, ::-1], squares[:, ::-1, ::-1]]
    return flipped + [np.swapaxes(part, 1, 2) for part in flipped]


def fold_by_fold(name: str, pixels: np.ndarray) -> np.ndarray:
    """The logits of the whole network of each fold, loaded one by one."""
    description = networks.read(name)
    inputs = networks.network_inputs(description, pixels)
    views = symmetries(inputs) if description.views == 8 else [inputs]
    loaded = [networks.load(description, fold) for fold in range(description.folds)]
    return np.array([np.mean([network.predict_on_batch(view) for view in views], axis=0) for network in loaded])


@pytest.mark.parametrize("name", MODELS)
def test_every_fold_answers_as_its_own_network_does(models, name):
    logits = predictor.load(name).logits(PIXELS)
    assert logits.shape == (FOLDS, 6, 7) and logits.dtype == np.float32
    # Features of frozen models are kept as float16.
    close = {"rtol": 1e-2, "atol": 5e-3} if name == "frozen" else CLOSE
    np.testing.assert_allclose(logits, fold_by_fold(name, PIXELS), **close)
    assert np.abs(logits[0] - logits[1]).max() > 0.02


@pytest.mark.parametrize("name", MODELS)
def test_the_batches_leave_no_mark(models, monkeypatch, name):
    own = predictor.load(name)
    many = np.random.default_rng(1).integers(0, 256, (11, 48, 48, 3), dtype="uint8")
    monkeypatch.setattr(predictor, "BATCH", 4)
    together = own.logits(many)
    parts = np.concatenate([own.logits(many[:3]), own.logits(many[3:])], axis=1)
    np.testing.assert_allclose(together, parts, **CLOSE)
    assert own.logits(many[:0]).shape == (FOLDS, 0, 7)


@pytest.mark.parametrize("training", [networks.FROZEN, networks.FINE_TUNED])
def test_with_eight_views_no_symmetry_of_the_square_matters(copy, training):
    # Without scaling, which rounds rows and columns one after the other.
    write(describe("eight", **(vars(MODELS["frozen"]) | {"training": training, "views": 8, "crop": 32})), seed=9)
    own = predictor.load("eight")
    expected = own.logits(PIXELS)
    for turned in symmetries(PIXELS)[1:]:
        np.testing.assert_allclose(own.logits(turned), expected, rtol=1e-2, atol=5e-3)


def test_probabilities_are_calibrated_fold_by_fold_and_then_averaged(models):
    own = predictor.load("tuned")
    table = predictions.read(paths.TRAIN / "tuned" / "predictions.csv")
    validated = predictions.select(table, "val")
    logits, expected = own.logits(PIXELS), []
    for fold in range(FOLDS):
        rows = validated[validated["fold"] == fold]
        scaling = calibration.vector_scaling(predictions.labels(rows), predictions.logits(rows))
        expected.append(softmax(logits[fold].astype("float64") * scaling.factors + scaling.shifts))
    assert np.abs(expected[0] - expected[1]).max() > 0.01
    expected = np.mean(expected, axis=0)
    probabilities = own.probabilities(PIXELS)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities, expected, rtol=1e-12)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_the_ensemble_is_the_mean_of_the_probabilities():
    parts = [softmax(np.random.default_rng(seed).normal(size=(4, 7))) for seed in range(3)]
    np.testing.assert_allclose(predictor.ensemble(parts), (parts[0] + parts[1] + parts[2]) / 3)


@pytest.mark.parametrize("name", ["frozen", "tuned"])
def test_an_image_is_prepared_as_those_in_training(models, tmp_path, name):
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (90, 130, 3), dtype="uint8"))
    image.save(tmp_path / "a.png")
    prepared = predictor.load(name).prepare(image)
    assert prepared.shape == (48, 48, 3) and prepared.dtype == np.uint8
    assert (prepared == images.read(tmp_path / "a.png", 48, MODELS[name].fit)).all()


def test_trained_models_are_found_and_unknown_ones_refused_with_the_known(models):
    assert predictor.trained() == ["frozen", "scratch", "tuned"]
    with pytest.raises(UserError, match=r"no trained model 'resnet'.*there are frozen, scratch, tuned"):
        predictor.load("resnet")


def test_without_models_the_message_says_how_to_get_some(tmp_path, monkeypatch):
    use_folder(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"no trained models in .*`make report` or `dvc repro`.*`dvc pull`"):
        predictor.trained()


@pytest.mark.parametrize("name", MODELS)
def test_weights_that_are_absent_damaged_or_of_another_model_are_named(copy, name):
    path = networks.folder(name) / "fold_1.weights.h5"
    path.unlink()
    with pytest.raises(UserError, match=r"fold_1\.weights\.h5 does not exist; .*dvc pull"):
        predictor.load(name)
    path.write_bytes(b"not HDF5")
    with pytest.raises(UserError, match=r"fold_1\.weights\.h5"):
        predictor.load(name)
    write(describe("other", **(vars(MODELS["scratch"]) | {"hidden_units": 5})), seed=5)
    shutil.copyfile(networks.folder("other") / "fold_0.weights.h5", path)
    with pytest.raises(UserError, match=r"fold_1\.weights\.h5 does not fit"):
        predictor.load(name)


def test_predictions_that_are_absent_or_of_another_model_are_named(copy):
    shutil.rmtree(paths.TRAIN / "tuned")
    with pytest.raises(UserError, match=r"tuned/predictions\.csv does not exist"):
        predictor.load("tuned")
    networks.write(describe("tuned", **(vars(MODELS["tuned"]) | {"folds": 3})), networks.folder("tuned"))
    shutil.copytree(paths.TRAIN / "frozen", paths.TRAIN / "tuned")
    with pytest.raises(UserError, match=r"predictions\.csv has 2 folds, but the model has 3"):
        predictor.load("tuned")


def test_weights_that_are_no_numbers_are_found_out(copy):
    network = networks.load(MODELS["tuned"], 1)
    network.get_layer("logits").set_weights([np.full((8, 7), np.nan), np.zeros(7)])
    network.save_weights(networks.folder("tuned") / "fold_1.weights.h5")
    with pytest.raises(UserError, match="tuned gives numbers that are not finite"):
        predictor.load("tuned").probabilities(PIXELS)
