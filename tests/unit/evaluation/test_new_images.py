import numpy as np
import pandas as pd
import pytest

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.evaluation import calibration, new_images, operating_points, thresholds
from skinlesions.evaluation.new_images import OperatingPoint
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

MODELS = {name: synthetic_predictions(synthetic_index(), seed=seed) for seed, name in enumerate(("a", "b"))}


@pytest.fixture(scope="module")
def parts() -> dict[str, tuple[thresholds.Part, thresholds.Part]]:
    """Each model alone, and the mean of both."""
    return {name: new_images.parts({name: table}) for name, table in MODELS.items()} | {
        "both": new_images.parts(MODELS)
    }


def test_the_thresholds_are_those_that_the_report_has(parts):
    points = new_images.operating_points(parts["a"][1])
    weights = np.ones((2, len(parts["a"][0].labels)))
    table = operating_points.operating_points({"a": parts["a"]}, weights, 0.95)
    assert len(points) == len(table) == 8
    for point, row in zip(points, table.itertuples(), strict=True):
        assert (point.task, point.criterion, point.target) == (row.task, row.criterion, row.target)
        assert (min(point.by_fold), max(point.by_fold)) == (row.threshold_min, row.threshold_max)
        assert min(point.by_fold) < point.threshold < max(point.by_fold)


def test_every_fold_has_the_scaling_of_its_validation_images():
    scalings = new_images.scalings(MODELS["a"])
    expected = calibration.fold_fits(MODELS["a"], calibration.vector_scaling)
    assert len(scalings) == len(expected) == 5
    for fold, scaling in enumerate(scalings):
        assert (scaling.factors == expected[fold].factors).all() and (scaling.shifts == expected[fold].shifts).all()


def test_several_models_are_averaged(parts):
    for position in (0, 1):
        a, b, both = (parts[name][position].probabilities for name in ("a", "b", "both"))
        np.testing.assert_allclose(both, (a + b) / 2)
        assert np.abs(a - b).max() > 0.01


def test_models_of_other_images_are_refused():
    other = synthetic_predictions(synthetic_index(seed=1), seed=0)
    with pytest.raises(UserError, match="train both on one split"):
        new_images.parts({"a": MODELS["a"], "other": other})


def test_an_image_is_called_at_the_mean_of_the_thresholds():
    point = OperatingPoint("malignant", "specificity", 0.9, (0.25, 0.5, 0.75))
    probabilities = pd.DataFrame(0.0, index=range(3), columns=CLASSES)
    probabilities["mel"], probabilities["akiec"] = [0.25, 0.5, 0.125], [0.25, 0.0, 0.25]
    probabilities["nv"] = 1 - probabilities.sum(axis=1)
    assert new_images.called(probabilities.to_numpy(), point).tolist() == [True, True, False]
    never = OperatingPoint("malignant", "specificity", 0.9, (0.1, np.inf, 0.1))
    assert not new_images.called(np.eye(7), never).any()


def test_an_operating_point_is_found_by_what_it_is_for(parts):
    points = new_images.operating_points(parts["a"][1])
    assert new_images.find(points, *new_images.DECISION).by_fold != points[0].by_fold
    with pytest.raises(KeyError):
        new_images.find(points, "malignant", "specificity", 0.5)
