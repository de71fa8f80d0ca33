import numpy as np
import pandas as pd
import pytest

from skinlesions.evaluation import ablations
from skinlesions.evaluation.pairwise import Paired
from tests.helpers.studies import described

SCORES = {"frozen": 0.6, "tuned": 0.7, "frozen_random": 0.25, "tuned_random": 0.4, "larger": 0.62, "baseline": 0.3}


def descriptions() -> dict[str, dict[str, object]]:
    """Two by two of one architecture, one model at another size, and one without a backbone."""
    same = {"architecture": "vgg16"}
    tuned = {"training": "fine-tuned", "views": 8} | same
    random = {"initialisation": "random", "backbone": "vgg16_random"}
    scratch = {"architecture": None, "backbone": None, "initialisation": "random", "training": "from scratch"}
    return {
        "frozen": described("frozen", **same),
        "tuned": described("tuned", **tuned),
        "frozen_random": described("frozen_random", **same, **random),
        "tuned_random": described("tuned_random", **tuned, **random),
        "larger": described("larger", **same, image_size=331),
        "baseline": described("baseline", **scratch),
    }


def paired() -> Paired:
    generator = np.random.default_rng(0)
    draws = {name: score + 0.01 * generator.normal(size=1000) for name, score in SCORES.items()}
    return Paired(SCORES, draws, {name: np.zeros(3) for name in SCORES}, 0.95, "percentile")


def test_a_pair_differs_in_one_thing_alone():
    weights, tuning = ablations.QUESTIONS
    assert set(ablations.pairs(descriptions())) == {
        (weights, "frozen", "frozen_random"),
        (weights, "tuned", "tuned_random"),
        (tuning, "tuned", "frozen"),
        (tuning, "tuned_random", "frozen_random"),
    }


def test_the_table_has_both_scores_and_their_difference():
    table = ablations.table(descriptions(), paired()).set_index(["model", "other"])
    row = table.loc[("frozen", "frozen_random")]
    assert (row["score"], row["other_score"]) == (0.6, 0.25)
    assert row["difference"] == pytest.approx(0.35)
    assert row["low"] < 0.35 < row["high"]
    assert row["other_low"] < 0.25 < row["other_high"]
    assert row["shared"] == "frozen features"
    assert table.loc[("tuned_random", "frozen_random"), "shared"] == "random"
    assert row["p_holm"] == pytest.approx(4 * row["p_value"])


def test_without_a_pair_the_table_is_empty():
    table = ablations.table({"frozen": descriptions()["frozen"]}, paired())
    assert table.empty and list(table.columns) == list(ablations.COLUMNS)
    assert isinstance(table, pd.DataFrame)
