"""The cases that are chosen, and what is found for them, from made-up predictions and heat."""

import numpy as np
import pandas as pd
import pytest

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import predictions
from skinlesions.evaluation import calibration, metrics
from skinlesions.explain import cases as chosen
from skinlesions.explain import gradcam
from skinlesions.models import networks
from tests.helpers.explained import description
from tests.helpers.synthetic import synthetic_index, synthetic_predictions


@pytest.fixture(scope="module")
def table():
    return synthetic_predictions(synthetic_index())


def test_answers_have_the_calibrated_probabilities_of_the_two_best_classes(table):
    answered = chosen.answers(table)
    test = predictions.select(table, "test")
    assert answered["image_id"].tolist() == test["image_id"].tolist()
    temperatures = calibration.fold_temperatures(table)
    assert len(set(temperatures.values())) == 5
    for row in range(0, len(test), 17):
        logits = predictions.logits(test)[row] / temperatures[test["fold"].iloc[row]]
        probability = dict(zip(CLASSES, metrics.softmax(logits), strict=True))
        first, second = sorted(probability, key=probability.get, reverse=True)[:2]
        answer = answered.iloc[row]
        assert (answer["predicted"], answer["runner_up"]) == (first, second)
        assert answer["probability"] == pytest.approx(probability[first])
        assert answer["margin"] == pytest.approx(probability[first] - probability[second])


def test_cases_are_the_extremes_of_their_class(table):
    answered = chosen.answers(table)
    cases = chosen.choose_cases(answered)
    assert cases["case"].unique().tolist() == list(chosen.CASES)
    for case in cases.itertuples():
        own = answered[answered["dx"] == case.dx]
        is_right = own["predicted"] == own["dx"]
        if case.case == "borderline":
            assert case.margin == own["margin"].min()
        else:
            assert case.probability == own.loc[is_right == (case.case == "right"), "probability"].max()
            assert (case.predicted == case.dx) == (case.case == "right")
        assert case.other == (case.runner_up if case.predicted == case.dx else case.dx)
        assert case.other != case.predicted
    assert cases.groupby("case")["dx"].apply(list)["right"] == [name for name in CLASSES if name in set(cases["dx"])]


def answer(image, dx, predicted, probability, margin=0.5):
    values = {"image_id": image, "dx": dx, "fold": 0, "predicted": predicted, "probability": probability}
    return values | {"runner_up": "nv" if predicted != "nv" else "mel", "margin": margin}


def test_equals_are_decided_by_name_and_cases_that_do_not_exist_are_absent():
    answered = pd.DataFrame(
        [
            answer("c", "mel", "mel", 0.9),
            answer("b", "mel", "mel", 0.9),
            answer("d", "mel", "nv", 0.7),
            answer("a", "mel", "mel", 0.6),
            answer("f", "nv", "bkl", 0.8),
        ]
    )
    cases = chosen.choose_cases(answered.sample(frac=1, random_state=1)).set_index(["case", "dx"])["image_id"]
    expected = {("right", "mel"): "b", ("wrong", "mel"): "d", ("wrong", "nv"): "f", ("borderline", "mel"): "a"}
    assert cases.to_dict() == expected | {("borderline", "nv"): "f"}


def test_every_model_answers_for_every_case_by_its_own_fold(table):
    answered = {"one": chosen.answers(table)}
    answered["two"] = chosen.answers(synthetic_predictions(synthetic_index(), skill=0.2, seed=5))
    cases = chosen.choose_cases(answered["one"])
    answers = chosen.answers_to_cases(cases, answered)
    assert answers["model"].tolist() == ["one"] * len(cases) + ["two"] * len(cases)
    for name, part in answers.groupby("model"):
        own = answered[name].set_index("image_id").loc[part["image_id"]]
        for column in ("fold", "predicted", "probability", "dx"):
            assert part[column].tolist() == own[column].tolist()
    with pytest.raises(UserError, match=f"the predictions of two lack the image {cases['image_id'].min()}"):
        chosen.answers_to_cases(cases, {"two": answered["two"].query("image_id != @cases.image_id.min()")})


def test_what_was_measured_is_counted_by_model(table):
    answered = {"one": chosen.answers(table)}
    cases = chosen.choose_cases(answered["one"])
    answers = chosen.answers_to_cases(cases, answered)
    count = len(cases)
    logits = np.eye(7)[[CLASSES.index(name) for name in answers["predicted"]]]
    logits[0] = -logits[0]  # this network answers something else
    maps = np.ones((count, 3, 3), "float32")
    maps[1] = 0
    heat = {"one": gradcam.Heat(maps, logits)}
    found = chosen.measured(answers, heat, {"one": description(training=networks.FROZEN)})
    assert found["repeated"].tolist() == [False] + [True] * (count - 1)
    assert found["empty"].tolist() == [False, True] + [False] * (count - 2)
    (row,) = chosen.by_model(found, heat).to_dict("records")
    assert (row["training"], row["initialisation"]) == (networks.FROZEN, "random")
    assert (row["grid_height"], row["grid_width"]) == (3, 3)
    right = int((cases["predicted"] == cases["dx"]).sum())
    assert (row["cases"], row["right"], row["repeated"], row["empty"]) == (count, right, count - 1, 1)
    assert row["central_share"] == pytest.approx(0.5, abs=1e-6)
    assert np.isnan(row["other_pictures"])  # all are even or empty


def test_a_name_in_a_figure_is_followed_by_how_the_model_was_trained():
    trunk = {"backbone": "tiny", "architecture": "vgg16", "cut_at": None, "pooling": "average"}
    origins = [
        chosen.origin(description()),
        chosen.origin(description(training=networks.FROZEN, **trunk)),
        chosen.origin(description(training=networks.FINE_TUNED, initialisation="ImageNet", **trunk)),
    ]
    assert origins == ["from scratch", "frozen features, random weights", "fine-tuned, ImageNet weights"]


def test_maps_too_coarse_to_have_a_centre_have_no_central_share(table):
    answered = dict.fromkeys(("coarse", "fine", "empty"), chosen.answers(table))
    answers = chosen.answers_to_cases(chosen.choose_cases(answered["fine"]), answered)
    count = len(answers) // 3
    random = np.random.default_rng(0)
    sizes = {"coarse": (2, 2), "fine": (6, 5), "empty": (5, 5)}
    heat = {
        name: gradcam.Heat(random.uniform(size=(count, *size)).astype("float32"), np.zeros((count, 7)))
        for name, size in sizes.items()
    }
    heat["empty"].maps[:] = 0
    found = chosen.measured(answers, heat, dict.fromkeys(heat, description()))
    models = chosen.by_model(found, heat)
    shares = models.set_index("model")["central_share"]
    assert shares.isna().tolist() == [True, False, True]
