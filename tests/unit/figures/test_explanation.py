"""The figures of notebook 05, from ordinary, small and extreme cases."""

import numpy as np
import pandas as pd
import pytest

from skinlesions.core.classes import CLASSES
from skinlesions.explain import sanity_check, similarity
from skinlesions.figures import explanation as draw
from skinlesions.figures import style
from tests.helpers.drawn_text import assert_legible, assert_same_files

SIZE = 40
MODELS = ("a_model_with_a_long_name", "other")
ORIGINS = dict(zip(MODELS, ("frozen features, random weights", "from scratch"), strict=True))


def pictures(count):
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def frames(count, seed=0):
    """Heat with a border that the network does not see; the first map is empty, the second even."""
    heat = np.random.default_rng(seed).uniform(size=(count, SIZE, SIZE)).astype("float32")
    heat[:1], heat[1:2] = 0, 1
    heat[:, :4], heat[:, -4:], heat[:, :, :4], heat[:, :, -4:] = (np.nan,) * 4
    return heat


def all_cases():
    """Every class right and borderline, none wrong; and what two models answer: the second always `nv`."""
    rows = [(case, name) for case in ("right", "borderline") for name in CLASSES]
    cases = pd.DataFrame(rows, columns=["case", "dx"])
    cases = cases.assign(image_id=[f"ISIC_{n}" for n in range(len(cases))], fold=0, predicted=cases["dx"], other="bkl")
    answers = [
        cases[["case", "dx", "image_id", "fold"]].assign(model=name, predicted=predicted, probability=0.98765)
        for name, predicted in zip(MODELS, (cases["dx"], "nv"), strict=True)
    ]
    return cases, pd.concat(answers, ignore_index=True)


def cases_figure(case):
    cases, answers = all_cases()
    count = len(cases)
    heat = {name: frames(count, seed) for seed, name in enumerate(MODELS)}
    shown = cases[cases["case"] == case]
    return draw.cases(shown, answers, pictures(count), heat, frames(count, 9), MODELS[0], ORIGINS)


def sanity():
    random = np.random.default_rng(0)
    steps, kept = 6, np.ones((6, 8), bool)
    names = ["", "logits", "hidden", "block_16_depthwise", "before", "first"]
    maps = random.uniform(size=(steps, 8, 5, 5)).astype("float32")
    return sanity_check.sanity(sanity_check.Cascade(names, np.arange(steps), maps, kept), 16, 0.95)


def kernels(height, count):
    values = np.random.default_rng(0).normal(size=(height, height, 3, count))
    values[..., 0] = 0
    return values


def maps_figure(sizes, channels):
    maps = {f"layer_{size}": np.random.default_rng(0).normal(size=(size, size, 20)) for size in sizes}
    maps[f"layer_{sizes[0]}"][..., 0] = 3
    return draw.feature_maps(pictures(1)[0], maps, {name: np.arange(channels) for name in maps})


FIGURES = {
    "cases": lambda: cases_figure("right"),
    "no cases": lambda: cases_figure("wrong"),
    "cascade": lambda: draw.cascade(pictures(3), np.stack([frames(3, n) for n in range(12)]), ["", *"abcdefghijk"]),
    "cascade of two": lambda: draw.cascade(pictures(1), np.stack([frames(1)] * 2), ["", "logits"]),
    "sanity": lambda: draw.sanity(sanity()),
    "filters": lambda: draw.filters("Conv1", kernels(3, 32)),
    "many filters": lambda: draw.filters("conv1_conv", kernels(7, 96)),
    "one filter": lambda: draw.filters("conv", kernels(3, 1)),
    "feature maps": lambda: maps_figure((30, 7, 1), 12),
    "one feature map": lambda: maps_figure((5,), 1),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_legible_and_always_the_same(name, tmp_path):
    assert_legible(FIGURES[name]())
    assert_same_files(FIGURES[name], tmp_path)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_every_picture_says_what_was_answered_and_whether_that_is_right():
    figure = cases_figure("right")
    found = texts(figure)
    assert found[:4] == ["ISIC_0", "✓ akiec 0.99, no heat", "✗ nv 0.99, no heat", "for bkl, no heat"]
    assert found[4:8] == ["ISIC_1", "✓ bcc 0.99, even", "✗ nv 0.99, even", "for bkl, even"]
    assert sum(text.startswith("✓") for text in found) == 8  # seven of the first, nv of the second
    colors = {text.get_text()[0]: text.get_color() for text in figure.axes[0].texts}
    assert (colors["✓"], colors["✗"]) == (style.ACCENT, style.CONTRAST)
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    first, *columns, last = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert rows == list(CLASSES)
    assert columns == ["a_model_with_a_\nlong_name\nfrozen features\nrandom weights", "other\nfrom scratch"]
    assert (first, last) == ("image", "a_model_with_a_\nlong_name\nfor another class")
    assert texts(cases_figure("wrong")) == ["there is no such case"]


def test_heat_colours_the_picture_where_it_is_and_nowhere_else():
    image = np.full((SIZE, SIZE, 3), (200, 80, 80), "uint8")
    heat = np.zeros((SIZE, SIZE), "float32")
    heat[:20] = 1
    heat[:, :4] = np.nan
    shown = draw.overlay(image, heat).astype(int)
    scale = draw.THUMBNAIL / SIZE
    hot, cold, unseen = shown[int(8 * scale), -5], shown[-5, -5], shown[-5, 2]
    assert cold.max() - cold.min() == 0  # grey
    assert hot.max() - hot.min() > 60
    assert unseen.min() > cold.max()


def test_the_filters_shown_are_counted():
    assert draw.filters("c", kernels(7, 96)).axes[0].get_title(loc="left") == (
        "c: the first 64 of 96 filters of 7 × 7 × 3 weights"
    )
    assert draw.filters("c", kernels(3, 32)).axes[0].get_title(loc="left") == "c: all 32 filters of 3 × 3 × 3 weights"


def test_feature_maps_state_the_layer_and_its_shape():
    titles = [axes.get_title(loc="left") for axes in maps_figure((30, 7), 12).axes]
    assert titles == [
        f"what the network reads: {SIZE} × {SIZE} × 3",
        "layer_30: 30 × 30 × 20; 12 of 20 maps",
        "layer_7: 7 × 7 × 20; 12 of 20 maps",
    ]


def test_the_curve_is_that_of_the_table():
    checked = sanity()
    for axes, name in zip(draw.sanity(checked).axes, similarity.MEASURES, strict=True):
        curve, other, *_ = axes.get_lines()
        assert curve.get_ydata().tolist() == checked.curve[name].tolist()
        assert set(other.get_ydata()) == {checked.other_images[name]}
        assert [label.get_text() for label in axes.get_xticklabels()] == ["trained", *checked.curve["reached"][1:]]
