"""The learning curves of notebook 03, from ordinary, small and extreme histories."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from skinlesions.figures import style
from skinlesions.figures import training as draw


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
def test_curves_are_drawn_without_a_warning_and_twice_the_same(name, tmp_path):
    for run in ("first", "second"):
        style.save(draw.learning_curves(HISTORIES[name]), tmp_path / run, "figure")
    for kind in ("png", "svg"):
        first, second = (tmp_path / run / f"figure.{kind}" for run in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_each_fold_has_its_line_and_its_kept_epoch():
    table = HISTORIES["five folds"]
    figure = draw.learning_curves(table)
    assert len(figure.axes) == 3
    for axes, column in zip(figure.axes, ("loss", "val_loss", "val_balanced_accuracy"), strict=True):
        lines = [line for line in axes.get_lines() if len(line.get_xdata())]
        assert len(lines) == 5
        for line, (_, rows) in zip(lines, table.groupby("fold"), strict=True):
            assert line.get_xdata().tolist() == rows["epoch"].tolist()
            assert line.get_ydata().tolist() == pytest.approx(rows[column].tolist())
        kept = table[table["chosen"]]
        scatters = [points for points in axes.collections if isinstance(points, PathCollection)]
        marks = np.concatenate([np.asarray(points.get_offsets()) for points in scatters])
        marks = marks[marks[:, 0].argsort()]
        np.testing.assert_allclose(marks, kept.sort_values("epoch")[["epoch", column]])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [f"fold {fold}" for fold in range(5)]


def test_lines_and_legend_agree_in_colour():
    figure = draw.learning_curves(HISTORIES["five folds"])
    drawn = [line.get_color() for line in figure.axes[0].get_lines() if len(line.get_xdata())]
    explained = [line.get_color() for line in figure.legends[0].get_lines()]
    assert [tuple(color) for color in drawn] == [tuple(color) for color in explained]
    assert len(set(map(tuple, drawn))) == 5
