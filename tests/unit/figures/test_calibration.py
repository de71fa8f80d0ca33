"""The figures about calibration, from ordinary, small and extreme data."""

import numpy as np
import pytest

from skinlesions.core.classes import CLASSES
from skinlesions.data import balancing, predictions
from skinlesions.evaluation import bootstrap, calibration, reliability
from skinlesions.figures import calibration as draw
from tests.helpers.drawn_text import assert_legible, assert_same_files
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

PLAN = balancing.Plan("balanced_weights", 0.6711, 0.999, 2.0, 1.0)
FEW = {"bcc": 4, "mel": 5, "nv": 20, "vasc": 1}


def tabulated(index, names, folds=5):
    """The tables of some models, the first of them drawn, with all ways."""
    tables = [synthetic_predictions(index, 0.3 * k, seed=k, folds=folds) for k in range(len(names))]
    test = predictions.select(tables[0], "test")
    labels = predictions.labels(test)
    scored = {
        name: {way: calibration.probabilities(table, "test", way, PLAN) for way in calibration.WAYS}
        for name, table in zip(names, tables, strict=True)
    }
    weights = bootstrap.lesion_resamples(test["group"].to_numpy(), labels, 30, seed=0)
    return reliability.tables(labels, scored, weights, 0.95, names[:1])


@pytest.fixture(scope="module", params=["many models", "few images, absent classes"])
def tables(request):
    if request.param == "many models":
        return tabulated(synthetic_index(), [f"model_{k}_with_quite_a_long_name" for k in range(12)])
    return tabulated(synthetic_index(FEW), ["it"], folds=3)


FIGURES = {
    "reliability": lambda tables: draw.reliability(tables["reliability"], first_model(tables)),
    "one way": lambda tables: draw.reliability(tables["reliability"], first_model(tables), ways=("prior_corrected",)),
    "errors": lambda tables: draw.errors(tables["calibration"]),
    "errors by one way": lambda tables: draw.errors(tables["calibration"].query("way == 'vector'"), scores=("brier",)),
    "all scores": lambda tables: draw.errors(tables["calibration"], scores=reliability.SCORES),
}


def first_model(tables):
    return tables["reliability"]["model"].iloc[0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_legible_and_always_the_same(name, tables, tmp_path):
    assert_legible(FIGURES[name](tables))
    assert_same_files(lambda: FIGURES[name](tables), tmp_path)


def test_points_and_whiskers_show_the_table(tables):
    table = tables["reliability"]
    panels = draw.reliability(table, first_model(tables)).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["predicted class", *CLASSES]
    for axes, dx in zip(panels, (reliability.PREDICTED, *CLASSES), strict=True):
        for container, way in zip(axes.containers, ("as_trained", "vector"), strict=True):
            rows = table[(table["way"] == way) & (table["dx"] == dx)]
            points, _, (whiskers,) = container.lines
            assert np.transpose(points.get_data()) == pytest.approx(rows[["confidence", "share"]].to_numpy())
            ends = np.array([segment[:, 1] for segment in whiskers.get_segments()])
            assert ends == pytest.approx(rows[["low", "high"]].to_numpy())
        assert axes.get_xlim()[0] < 0 and axes.get_xlim()[1] > 1


def test_ways_are_told_apart_without_colour(tables):
    looks = [(style["marker"], str(style["ls"]), style.get("mfc", "filled")) for style in draw.STYLES.values()]
    assert len({marker for marker, *_ in looks}) == len({line for _, line, _ in looks}) == len(calibration.WAYS)
    assert [fill for *_, fill in looks].count("white") == 1
    assert list(draw.STYLES) == list(calibration.WAYS)


def test_every_model_has_a_row_with_all_its_ways(tables):
    table = tables["calibration"]
    models = table["model"].unique().tolist()
    axes = draw.errors(table).axes
    assert [label.get_text() for label in axes[0].get_yticklabels()] == models
    for panel, score in zip(axes, ("nll", "class_ece"), strict=True):
        for container, way in zip(panel.containers, calibration.WAYS, strict=True):
            values, rows = container.lines[0].get_data()
            assert values == pytest.approx(table.loc[table["way"] == way, score].to_numpy())
            assert [round(-row) for row in rows] == list(range(len(models)))
    chances = [line for line in axes[1].lines if line.get_marker() == "|"]
    drawn = np.sort(np.concatenate([line.get_xdata() for line in chances]))
    assert drawn == pytest.approx(np.sort(table["class_ece_chance"]))
    assert not [line for line in axes[0].lines if line.get_marker() == "|"]
