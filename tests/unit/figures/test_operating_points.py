"""The figures about decisions, from ordinary, small and extreme data."""

import pytest

from skinlesions.core.formatting import estimate
from skinlesions.evaluation import operating_points
from skinlesions.evaluation.bootstrap import lesion_resamples
from skinlesions.figures import operating_points as draw
from tests.helpers.drawn_text import assert_legible, assert_same_files, boxes, titles_of
from tests.helpers.scores import part
from tests.helpers.synthetic import synthetic_index, synthetic_predictions


@pytest.fixture(scope="module")
def tables():
    index = synthetic_index()
    parts = {}
    for k in range(4):
        table = synthetic_predictions(index, 0.2 + 0.7 * k, seed=k)
        parts[f"model_{k}_with_quite_a_long_name"] = part(table, "test"), part(table, "val")
    test, _ = next(iter(parts.values()))
    weights = lesion_resamples(test.groups, test.labels, 40, seed=1)
    return operating_points.tables(parts, weights, 0.95, list(parts))


LAST = "model_3_with_quite_a_long_name"
FIGURES = {
    "curves of four models": lambda tables: draw.curves(
        tables["curves"], tables["operating_points"], tables["discrimination"]
    ),
    "curves of one model": lambda tables: draw.curves(
        tables["curves"].query("model == @LAST"), tables["operating_points"], tables["discrimination"]
    ),
    "net benefit": lambda tables: draw.net_benefit(tables["curves"]),
    "net benefit of one model": lambda tables: draw.net_benefit(tables["curves"].query("model == @LAST")),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_legible_and_always_the_same(name, tables, tmp_path):
    assert_legible(FIGURES[name](tables))
    assert_same_files(lambda: FIGURES[name](tables), tmp_path)


def test_the_scores_stand_above_the_panels_where_no_curve_runs(tables):
    figure = FIGURES["curves of four models"](tables)
    figure.canvas.draw()
    for axes in figure.axes:
        assert not any(box.overlaps(axes.get_window_extent()) for box in boxes(titles_of(figure), figure))


def test_operating_points_are_drawn_at_their_rates(tables):
    axes = FIGURES["curves of one model"](tables).axes[0]
    points = tables["operating_points"].query("model == @LAST and task == 'melanoma'")
    drawn = next(line for line in axes.lines if line.get_marker() == "o")
    assert list(drawn.get_xdata()) == list(1 - points["specificity"])
    assert list(drawn.get_ydata()) == list(points["sensitivity"])


def test_models_are_told_apart_without_colour(tables):
    roc, precision_recall = FIGURES["curves of four models"](tables).axes[:2]
    curves = [line for line in precision_recall.lines if len(line.get_xdata()) > 2]
    assert len({line.get_linestyle() for line in curves}) == len(curves) == 4
    markers = [line.get_marker() for line in roc.lines if line.get_linewidth() == 0]
    assert len(set(markers)) == len(markers) == 4


def test_the_titles_give_the_scores_of_each_model(tables):
    row = tables["discrimination"].set_index(["model", "task"]).loc[(LAST, "malignant")]
    titles = [axes.get_title(loc="left") for axes in FIGURES["curves of one model"](tables).axes]
    assert titles[2] == f"malignant against benign: AUC\n{LAST}: {estimate(row, 'auc')}"
    assert titles[3].endswith(estimate(row, "average_precision"))


def test_net_benefit_draws_both_defaults(tables):
    axes = FIGURES["net benefit of one model"](tables).axes[1]
    everyone = tables["curves"].query("model == @LAST and task == 'malignant' and curve == 'treat_all'")
    assert any(list(line.get_ydata()) == list(everyone["y"]) for line in axes.lines)
    assert any(list(line.get_ydata()) == [0, 0] for line in axes.lines)
