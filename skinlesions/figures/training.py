"""The figures of notebook 03: learning curves."""

import itertools

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from skinlesions.figures.style import OTHER_COLORS, gridlines, legend

# What each panel shows, and what is said at its axis.
PANELS = {
    "loss": ("training loss, with weight decay", "loss"),
    "val_loss": ("validation loss", "negative log-likelihood"),
    "val_balanced_accuracy": ("validation balanced accuracy", "balanced accuracy"),
}
# More folds than colours are told apart by their lines.
LOOKS = [{"color": color, "ls": line} for line, color in itertools.product(("-", "--", ":", "-."), OTHER_COLORS)]

# A loss that falls to less than this share of its highest is drawn on a logarithmic scale: the weight decay of the
# first epochs would flatten everything after them.
STEEP = 0.2


def learning_curves(history: pd.DataFrame) -> Figure:
    """Training loss, validation loss and validation balanced accuracy by epoch, a line per fold; the kept epoch marked.

    Args:
        history: cross_validation.Result.history, of one phase.
    """
    figure, grid = plt.subplots(1, len(PANELS), figsize=(11, 3.6))
    looks = dict(zip(sorted(history["fold"].unique()), itertools.cycle(LOOKS), strict=False))
    for axes, (column, (title, label)) in zip(grid, PANELS.items(), strict=True):
        for fold, rows in history.groupby("fold"):
            axes.plot(rows["epoch"], rows[column], lw=1.5, **looks[fold])
            kept = rows[rows["chosen"]]
            axes.plot(kept["epoch"], kept[column], "o", ms=7, color=looks[fold]["color"], mec="black", zorder=3)
        values = history[column].dropna()
        if column == "loss" and 0 < values.min() < STEEP * values.max():
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter("{x:g}")
            label += " (log scale)"
        axes.set_title(title, loc="left")
        axes.set_ylabel(label)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        gridlines(axes, "y")
    entries = {f"fold {fold}": Line2D([], [], lw=1.5, **look) for fold, look in looks.items()}
    entries["kept epoch"] = Line2D([], [], ls="", marker="o", ms=7, mfc="white", mec="black")
    legend(figure, entries, loc="outside lower center")
    return figure
