"""TensorFlow and JAX agree: on features, on logits, and on each other's trained models."""

import numpy as np
import pytest

from skinlesions.core import files
from skinlesions.data import predictions
from tests.integration.backends.conftest import BACKENDS, MODELS, Project


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_code_runs_without_the_other_backend(finished: dict[str, Project], backend: str):
    """The other was hidden, and nothing of it was loaded, when every module had been imported."""
    found = files.read_json(finished[backend].root / f"imported_{backend}.json")
    assert found == {"keras": backend, "loaded": [backend]}


def test_features_are_the_same(finished: dict[str, Project]):
    tensorflow, jax = (files.read_array(finished[name].root / "data/features/tiny.npy") for name in BACKENDS)
    assert tensorflow.dtype == jax.dtype == "float16"
    assert tensorflow.astype("float32").std(axis=0).mean() > 0.01  # images differ, so that agreement means something
    # One unit in the last place of a float16, where the two fall on either side of a boundary.
    np.testing.assert_allclose(jax.astype("float32"), tensorflow.astype("float32"), rtol=2**-10, atol=1e-4)


def logits(project: Project, backend: str, model: str) -> np.ndarray:
    """What the network of the first fold of a model, trained in `project`, gives under `backend`: float32 [N, 7]."""
    return files.read_array(project.root / f"logits_{backend}" / f"{model}.npy")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("trained_under", BACKENDS)
def test_a_model_trained_under_one_gives_the_same_logits_under_the_other(
    finished: dict[str, Project], trained_under: str, model: str
):
    tensorflow, jax = (logits(finished[trained_under], backend, model) for backend in BACKENDS)
    assert np.ptp(tensorflow, axis=0).min() > 0.01  # images differ
    np.testing.assert_allclose(jax, tensorflow, rtol=0, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_predictions_are_those_of_the_network_that_was_kept(finished: dict[str, Project], backend: str, model: str):
    root = finished[backend].root
    test = predictions.select(predictions.read(root / "data/train" / model / "predictions.csv"), "test")
    first = test["fold"].to_numpy() == 0
    # The frozen model was trained on features in float16; the table has six digits.
    tolerance = {"atol": 1e-2 if model == "frozen" else 1e-4, "rtol": 1e-5}
    np.testing.assert_allclose(
        predictions.logits(test)[first], logits(finished[backend], backend, model)[first], **tolerance
    )


@pytest.mark.parametrize("model", ["frozen", "tuned"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_training_learns(finished: dict[str, Project], backend: str, model: str):
    """Each class has a colour of its own."""
    path = finished[backend].root / "data/train" / model / "predictions.csv"
    test = predictions.select(predictions.read(path), "test")
    assert (predictions.logits(test).argmax(axis=1) == predictions.labels(test)).mean() > 0.4  # chance: 0.14
