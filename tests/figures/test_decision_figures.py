"""The figures about decisions and groups, from ordinary, small and extreme data."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from skinlesions import decision, subgroups
from skinlesions.figures import decision as draw_decision
from skinlesions.figures import style
from skinlesions.figures import subgroups as draw_subgroups
from tests.drawn_text import boxes, tick_labels
from tests.synthetic import synthetic_index, synthetic_predictions


@pytest.fixture(autouse=True)
def _style():
    style.use_style()
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def tables():
    index = synthetic_index()
    models = {f"model_{k}_with_a_long_name": synthetic_predictions(index, 0.5 + k, seed=k) for k in range(3)}
    return decision.tables(models, confidence=0.95, resamples=40, seed=1, drawn=[*models, "ensemble"])


def groups(values: dict[str, dict[str, float]], small: str = "no") -> pd.DataFrame:
    rows = [
        (attribute, group, metric, 100, 50, value, max(0, value - 0.1), min(1, value + 0.1), small)
        for attribute, own in values.items()
        for group, value in own.items()
        for metric in subgroups.METRICS
    ]
    columns = ["attribute", "group", "metric", "images", "lesions", "value", "low", "high", "small"]
    return pd.DataFrame(rows, columns=columns)


MANY = {
    "sex": {"female": 0.7, "male": 0.6, "unknown": 0.0},
    "age": {name: 0.5 for _, name in subgroups.AGE_BANDS},
    "localization": {f"{site} extremity": 1.0 for site in "abcdefghijklmno"},
    "dx_type": {"histo": 0.4, "follow_up": 0.9},
}
OVERALL = dict.fromkeys(subgroups.METRICS, 0.65)


def nevi(kinds: list[str]) -> pd.DataFrame:
    rows = [(kind, 1000, 900, 0.8, 0.7, 0.9, 0.6, 0.5, 0.7) for kind in kinds]
    ends = [f"{metric}{end}" for metric in ("recall", "specificity") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["dx_type", "images", "lesions", *ends])


FIGURES = {
    "curves of four models": lambda tables: draw_decision.curves(
        tables["curves"], tables["operating_points"], tables["discrimination"]
    ),
    "curves of one model": lambda tables: draw_decision.curves(
        tables["curves"].query("model == 'ensemble'"), tables["operating_points"], tables["discrimination"]
    ),
    "net benefit": lambda tables: draw_decision.net_benefit(tables["curves"]),
    "net benefit of one model": lambda tables: draw_decision.net_benefit(tables["curves"].query("model == 'ensemble'")),
    "groups": lambda _: draw_subgroups.scores(groups(MANY), OVERALL),
    "small groups": lambda _: draw_subgroups.scores(groups({"sex": {"male": 1.0}}, "yes"), OVERALL),
    "nevi": lambda _: draw_subgroups.nevi(
        nevi(["histo", "confocal", "follow_up", "consensus", "histo less follow_up"])
    ),
    "nevi of one kind": lambda _: draw_subgroups.nevi(nevi(["histo"])),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_and_nothing_is_cut_off(name, tables):
    figure = FIGURES[name](tables)
    figure.canvas.draw()
    titles = [title for axes in figure.axes for title in (axes.title, axes._left_title)]
    legends = [text for legend in figure.legends for text in legend.get_texts()]
    for one, other in itertools.combinations(boxes([*titles, *legends], figure), 2):
        assert not one.overlaps(other), name
    for axes in figure.axes:
        ticks = list(tick_labels(axes))
        for labels in (ticks[0], [*ticks[1], *axes.texts]):
            for one, other in itertools.combinations(boxes(labels, figure), 2):
                assert not one.overlaps(other), name
        for box in boxes([*axes.texts, *itertools.chain(*ticks), *titles], figure):
            assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1, name
            assert figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1, name


def test_saved_files_do_not_change_from_run_to_run(tables, tmp_path):
    for run in ("first", "second"):
        style.save(FIGURES["net benefit"](tables), tmp_path / run, "figure")
    for kind in ("png", "svg"):
        first, second = (tmp_path / run / f"figure.{kind}" for run in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_operating_points_are_drawn_at_their_rates(tables):
    axes = FIGURES["curves of one model"](tables).axes[0]
    points = tables["operating_points"].query("model == 'ensemble' and task == 'melanoma'")
    drawn = next(line for line in axes.lines if line.get_marker() == "o")
    assert list(drawn.get_xdata()) == list(1 - points["specificity"])
    assert list(drawn.get_ydata()) == list(points["sensitivity"])


def test_every_group_has_its_row_and_small_ones_are_hollow():
    axes = draw_subgroups.scores(groups(MANY), OVERALL).axes[0]
    named = [label.get_text() for label in axes.get_yticklabels() if label.get_text()]
    assert named == [group for own in MANY.values() for group in own]
    hollow = draw_subgroups.scores(groups({"sex": {"male": 1.0}}, "yes"), OVERALL).axes[0].containers
    assert [np.size(container.lines[0].get_xdata()) for container in hollow] == [0, 1]
    assert hollow[1].lines[0].get_markerfacecolor() == "white"
