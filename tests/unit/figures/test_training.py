"""The learning curves of notebook 03, from ordinary, small and extreme histories."""

import numpy as np
import pandas as pd
import pytest

from skinlesions.figures import training as draw
from tests.helpers.drawn_text import assert_legible, assert_same_files, tick_labels


def history(epochs: list[int], **changed: float) -> pd.DataFrame:
    """A fold for every number of epochs; the last epoch but one is kept."""
    random = np.random.default_rng(0)
    folds = []
    for fold, count in enumerate(epochs):
        values = {name: random.uniform(0.1, 2, count) for name in ("loss", "val_loss", "val_balanced_accuracy")}
        number = np.arange(1, count + 1)
        chosen = number == max(count - 1, 1)
        folds.append(pd.DataFrame({"fold": fold, "epoch": number, **values, **changed, "chosen": chosen}))
    return pd.concat(folds, ignore_index=True)


HISTORIES = {
    "five folds": history([20, 25, 60, 11, 30]),
    "one epoch": history([1, 1, 1]),
    "one fold": history([4]),
    "twenty folds": history([3] * 20),
    "constant": history([5, 5, 5], loss=0.7, val_loss=1.0, val_balanced_accuracy=1 / 7),
    "diverged": history([5, 5, 5], loss=1e30, val_loss=36.04),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", HISTORIES)
def test_every_figure_is_legible_and_always_the_same(name, tmp_path):
    assert_legible(draw.learning_curves(HISTORIES[name]))
    assert_same_files(lambda: draw.learning_curves(HISTORIES[name]), tmp_path)


def test_each_fold_has_its_line_and_its_kept_epoch():
    table = HISTORIES["five folds"]
    figure = draw.learning_curves(table)
    assert len(figure.axes) == 3
    for axes, column in zip(figure.axes, ("loss", "val_loss", "val_balanced_accuracy"), strict=True):
        lines = [line for line in axes.get_lines() if line.get_linestyle() != "None" and line.get_marker() == "None"]
        marks = [line for line in axes.get_lines() if line.get_marker() == "o"]
        for line, mark, (_, rows) in zip(lines, marks, table.groupby("fold"), strict=True):
            assert np.transpose(line.get_data()) == pytest.approx(rows[["epoch", column]].to_numpy())
            assert np.transpose(mark.get_data()) == pytest.approx(
                rows.loc[rows["chosen"], ["epoch", column]].to_numpy()
            )
            assert line.get_color() == mark.get_color()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [*(f"fold {fold}" for fold in range(5)), "kept epoch"]


def looks(lines) -> list[tuple[object, object]]:
    return [(line.get_color(), line.get_linestyle()) for line in lines if line.get_linestyle() != "None"]


@pytest.mark.parametrize("name", ["five folds", "twenty folds"])
def test_every_fold_has_a_look_of_its_own_which_the_legend_explains(name):
    figure = draw.learning_curves(HISTORIES[name])
    drawn = looks(line for line in figure.axes[0].get_lines() if line.get_marker() == "None")
    assert drawn == looks(figure.legends[0].get_lines())
    assert len(set(drawn)) == HISTORIES[name]["fold"].nunique()


@pytest.mark.parametrize(("falls_to", "scale"), [(0.5, "log"), (40.0, "linear")])
def test_every_axis_says_what_is_on_it_and_has_ticks(falls_to, scale):
    table = HISTORIES["five folds"].assign(loss=lambda rows: np.linspace(45, falls_to, len(rows)))
    figure = draw.learning_curves(table)
    figure.canvas.draw()
    axes = figure.axes[0]
    assert axes.get_yscale() == scale and axes.get_ylabel() and axes.get_xlabel()
    assert len(tick_labels(axes.yaxis)) >= 3
