"""The figures about answering only when sure, from ordinary, small and extreme data."""

import numpy as np
import pytest

from skinlesions.core import names
from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import selective
from skinlesions.evaluation.bootstrap import lesion_resamples
from skinlesions.evaluation.metrics import softmax
from skinlesions.figures import selective as draw
from tests.helpers.drawn_text import assert_legible, assert_same_files


def tables(counts: list[int], models: int, skill: float):
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), counts)
    logits = generator.normal(size=(models, len(labels), 7))
    logits[:, np.arange(len(labels)), labels] += skill
    members = softmax(logits)
    weights = lesion_resamples(np.arange(len(labels)), labels, 40, seed=1)
    scores, groups = selective.certainties(members), np.arange(len(labels))
    return selective.tables(labels, members.mean(axis=0), scores, groups, weights, 0.95)


TABLES = {
    "four models": lambda: tables([20, 30, 60, 10, 60, 300, 20], 4, 1.5),
    "one model": lambda: tables([20, 30, 60, 10, 60, 300, 20], 1, 1.5),
    "always right": lambda: tables([5, 5, 5, 5, 5, 50, 5], 2, 50.0),
    "absent classes, never answered": lambda: tables([0, 0, 4, 0, 5, 40, 0], 2, -9.0),
    "one coverage": lambda: {
        name: table.query("coverage == 0.8") if name == "coverage_classes" else table
        for name, table in TABLES["four models"]().items()
    },
}


FIGURES = {
    f"{name}: {kind}": (lambda make=make, draw_one=draw_one, table=table: draw_one(make()[table]))
    for name, make in TABLES.items()
    for kind, draw_one, table in (
        ("risks", draw.risks, "coverage_curves"),
        ("classes", draw.classes, "coverage_classes"),
    )
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_legible_and_always_the_same(name, tmp_path):
    assert_legible(FIGURES[name]())
    assert_same_files(FIGURES[name], tmp_path)


def test_a_line_for_every_certainty_told_apart_without_colour():
    found = TABLES["four models"]()
    for axes, metric in zip(draw.risks(found["coverage_curves"]).axes, ("risk", "balanced_risk"), strict=True):
        assert len({line.get_linestyle() for line in axes.lines}) == len(axes.lines) == len(names.CERTAINTY_NAMES)
        own = found["coverage_curves"].query("score == 'probability'")
        assert list(axes.lines[0].get_ydata()) == list(own[metric])
    assert len(draw.risks(TABLES["one model"]()["coverage_curves"]).axes[0].lines) == 2


def test_every_class_has_a_row_and_a_marker_for_each_coverage():
    found = TABLES["four models"]()["coverage_classes"]
    answered, recall = draw.classes(found).axes
    assert [label.get_text() for label in answered.get_yticklabels()] == list(CLASSES)
    # That all images are all of every class goes without drawing.
    assert [len(axes.containers) for axes in (answered, recall)] == [2, 3]
    markers = [container.lines[0].get_marker() for container in recall.containers]
    assert len(set(markers)) == 3
    own = found.query("score == 'probability' and coverage == 0.8")
    assert list(answered.containers[0].lines[0].get_xdata()) == list(own["answered"])


def test_another_certainty_can_be_drawn():
    found = TABLES["four models"]()["coverage_classes"]
    answered = draw.classes(found, "variance").axes[0]
    own = found.query("score == 'variance' and coverage == 0.8")
    assert list(answered.containers[0].lines[0].get_xdata()) == list(own["answered"])
