"""The figures about groups, from ordinary, small and extreme data."""

import numpy as np
import pandas as pd
import pytest

from skinlesions.core import names
from skinlesions.core.formatting import plain
from skinlesions.evaluation import attributes, subgroups
from skinlesions.figures import subgroups as draw
from tests.helpers.drawn_text import assert_legible, assert_same_files


def groups(values: dict[str, dict[str, float]], small: str = "no") -> pd.DataFrame:
    rows = [
        (attribute, group, metric, 100, 50, value, max(0, value - 0.1), min(1, value + 0.1), small)
        for attribute, own in ({names.ALL: {names.ALL_IMAGES: 0.65}} | values).items()
        for group, value in own.items()
        for metric in subgroups.METRICS
    ]
    columns = ["attribute", "group", "metric", "images", "lesions", "value", "low", "high", "small"]
    return pd.DataFrame(rows, columns=columns)


MANY = {
    "sex": {"female": 0.7, "male": 0.6, "unknown": 0.0},
    "age": {name: 0.5 for _, name in attributes.AGE_BANDS},
    "localization": {f"{site} extremity": 1.0 for site in "abcdefghijklmno"},
    "dx_type": {"histo": 0.4, "follow_up": 0.9},
}


def nevi(kinds: list[str], values: tuple[float, float, float] = (0.8, 0.7, 0.9)) -> pd.DataFrame:
    rows = [(kind, 1000, 900, *values, 0.6, 0.5, 0.7) for kind in kinds]
    ends = [f"{metric}{end}" for metric in ("recall", "specificity") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["dx_type", "images", "lesions", *ends])


FIGURES = {
    "groups": lambda: draw.scores(groups(MANY)),
    "small groups": lambda: draw.scores(groups({"sex": {"male": 1.0}}, "yes")),
    "nevi": lambda: draw.nevi(nevi(["histo", "confocal", "follow_up", "consensus", "histo less follow_up"])),
    "nevi of one kind": lambda: draw.nevi(nevi(["histo"])),
    "nevi never recognised": lambda: draw.nevi(nevi(["histo", "follow_up"], (0.0, 0.0, 0.0))),
    "nevi always recognised": lambda: draw.nevi(nevi(["histo", "follow_up"], (1.0, 1.0, 1.0))),
    "nevi of which little is known": lambda: draw.nevi(nevi(["histo", "follow_up"], (0.51, 0.0, 1.0))),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_legible_and_always_the_same(name, tmp_path):
    assert_legible(FIGURES[name]())
    assert_same_files(FIGURES[name], tmp_path)


def test_every_group_has_its_row_and_small_ones_are_hollow():
    axes = draw.scores(groups(MANY)).axes[0]
    named = [label.get_text() for label in axes.get_yticklabels() if label.get_text()]
    assert named == [group.replace("_", "-") for own in MANY.values() for group in own]
    hollow = draw.scores(groups({"sex": {"male": 1.0}}, "yes")).axes[0].containers
    assert [np.size(container.lines[0].get_xdata()) for container in hollow] == [0, 1]
    assert hollow[1].lines[0].get_markerfacecolor() == "white"


def test_all_images_are_a_line_and_a_metric_without_scores_is_an_empty_panel():
    table = groups(MANY)
    figure = draw.scores(table[table["metric"] != "recall_mel"])
    shown, empty = figure.axes[0], figure.axes[1]
    assert any(list(line.get_xdata()) == [0.65, 0.65] for line in shown.lines)
    assert all(np.isnan(np.asarray(line.get_xdata(), dtype=float)).all() for line in empty.lines)


def test_nevi_are_written_with_their_intervals():
    figure = draw.nevi(nevi(["histo", "histo less follow_up"]))
    assert [plain(text.get_text()) for axes in figure.axes for text in axes.texts] == [
        "80.0 % (70.0–90.0)",
        "60.0 % (50.0–70.0)",
    ]
