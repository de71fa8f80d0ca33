"""The figures about answering only when sure, from ordinary, small and extreme data."""

import itertools

import numpy as np
import pytest

from skinlesions.core import names
from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import selective
from skinlesions.evaluation.bootstrap import lesion_resamples
from skinlesions.evaluation.metrics import softmax
from skinlesions.figures import selective as draw
from skinlesions.figures import style
from tests.helpers.drawn_text import assert_apart, assert_inside, tick_labels


def tables(counts: list[int], models: int, skill: float, class_coverages=selective.CLASS_COVERAGES):
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), counts)
    logits = generator.normal(size=(models, len(labels), 7))
    logits[:, np.arange(len(labels)), labels] += skill
    members = softmax(logits)
    weights = lesion_resamples(np.arange(len(labels)), labels, 40, seed=1)
    return selective.tables(
        labels,
        members.mean(axis=0),
        selective.certainties(members),
        weights,
        0.95,
        class_coverages=class_coverages,
    )


TABLES = {
    "four models": lambda: tables([20, 30, 60, 10, 60, 300, 20], 4, 1.5),
    "one model": lambda: tables([20, 30, 60, 10, 60, 300, 20], 1, 1.5),
    "always right": lambda: tables([5, 5, 5, 5, 5, 50, 5], 2, 50.0),
    "absent classes, never answered": lambda: tables([0, 0, 4, 0, 5, 40, 0], 2, -9.0),
    "one coverage": lambda: tables([5, 5, 5, 5, 5, 50, 5], 2, 1.0, (0.9,)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", TABLES)
def test_nothing_overlaps_and_nothing_is_cut_off(name):
    found = TABLES[name]()
    for figure in (draw.risks(found["coverage_curves"]), draw.classes(found["coverage_classes"])):
        figure.canvas.draw()
        titles = [title for axes in figure.axes for title in (axes.title, axes._left_title)]
        legends = [text for legend in figure.legends for text in legend.get_texts()]
        assert_apart([*titles, *legends], figure, name)
        for axes in figure.axes:
            ticks = list(tick_labels(axes))
            for labels in ticks:
                assert_apart(labels, figure, name)
        texts = [*legends, *titles, *(text for axes in figure.axes for text in itertools.chain(*tick_labels(axes)))]
        assert_inside(texts, figure, name)


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


def test_saved_files_do_not_change_from_run_to_run(tmp_path):
    found = TABLES["one model"]()
    for run in ("first", "second"):
        style.save(draw.classes(found["coverage_classes"]), tmp_path / run, "figure")
    for kind in ("png", "svg"):
        first, second = (tmp_path / run / f"figure.{kind}" for run in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
