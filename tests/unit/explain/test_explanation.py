"""What notebook 05 says about what it found."""

import numpy as np
import pytest

from skinlesions.explain import cases as chosen
from skinlesions.explain import explanation, gradcam, sanity_check
from tests.helpers.explained import description, made_up
from tests.helpers.synthetic import synthetic_index, synthetic_predictions


@pytest.fixture(scope="module")
def table():
    return synthetic_predictions(synthetic_index())


def test_coarse_maps_are_named_and_left_out_of_the_words_about_the_centre(table):
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
    text = explanation.centre_in_words(models, found, "fine")
    assert f"from {shares['fine']:.2f} (fine) to **{shares['fine']:.2f}** (fine)" in text
    assert "For fine, by case: right 0." in text
    assert text.endswith("whatever it shows: coarse (2 × 2).")
    alone = explanation.centre_in_words(models[models["model"] == "coarse"], found, "coarse")
    assert alone.startswith("Left out")


def test_what_was_found_follows_the_numbers(table):
    answered = dict.fromkeys(("one", "two"), chosen.answers(table))
    cases = chosen.choose_cases(answered["one"])
    answers = chosen.answers_to_cases(cases, answered)
    maps = np.random.default_rng(0).uniform(size=(len(cases), 5, 5)).astype("float32")
    heat = {
        name: gradcam.Heat(values, np.zeros((len(cases), 7)))
        for name, values in zip(answered, (maps, 0 * maps), strict=True)
    }
    found = chosen.measured(answers, heat, dict.fromkeys(heat, description()))
    checked = sanity_check.sanity(made_up(lambda first: (first, first)), 16, 0.95)
    text = explanation.found(found, "one", checked, 0.04)
    wrong = int((cases["case"] == "wrong").sum())
    assert text.startswith(
        f"- {explanation.verdict(checked)}\n- The maps of one for the different pictures of the check"
    )
    assert "for two classes of one picture have one of 0.04" in text
    assert f"other models are wrong too in {wrong} of {wrong} answers" in text
    assert f"{found.loc[found['model'] == 'one', 'central_share'].mean():.2f} of its heat" in text
    assert text.endswith(f"Empty maps, of all models: {len(cases)} of {2 * len(cases)}.")
    assert "of its heat" not in explanation.found(found, "two", checked, 0.04)
    alone = explanation.found(found[found["model"] == "one"], "one", checked, 0.04)
    assert "other models" not in alone


def test_words_about_likeness_follow_the_number():
    assert "one map says little about its own lesion" in explanation.likeness_in_words(0.67)
    assert explanation.likeness_in_words(-0.1) == explanation.likeness_in_words(0.3)
    assert "too few maps" in explanation.likeness_in_words(float("nan"))
