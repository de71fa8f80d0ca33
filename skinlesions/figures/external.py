"""The figure of notebook 07: out-of-fold and external results side by side."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinlesions.figures.comparison import labels
from skinlesions.figures.style import ACCENT, CONTRAST, MUTED, gridlines

# How far above and below the line of its model each of the two results is drawn.
APART = 0.17


def against(against: pd.DataFrame, folds: pd.DataFrame) -> Figure:
    """The balanced accuracy of every model out of fold and on the external set, with intervals.

    Models with weights that would mislead are marked as figures.comparison.labels does.

    Args:
        against: external.tables()["against"].
        folds: external.tables()["folds"], the single networks on the external set.
    """
    figure, axes = plt.subplots(figsize=(8.5, 1.7 + 0.5 * len(against)))
    positions = -np.arange(len(against), dtype=float)
    for position, row in zip(positions, against.itertuples(index=False), strict=True):
        single = folds.loc[folds["model"] == row.model, "balanced_accuracy"]
        axes.plot(single, np.full(len(single), position - 2.1 * APART), "o", color=MUTED, ms=3, mew=0)
    axes.hlines(positions + APART, against["out_of_fold_low"], against["out_of_fold_high"], color=ACCENT, lw=2)
    axes.plot(against["out_of_fold"], positions + APART, "o", color=ACCENT, ms=6)
    axes.hlines(positions - APART, against["external_low"], against["external_high"], color=CONTRAST, lw=2)
    axes.plot(against["external"], positions - APART, "s", color=CONTRAST, ms=6)
    axes.set_yticks(positions, labels(against))
    axes.set_ylim(positions[-1] - 0.6, 0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("balanced accuracy (mean recall of the classes)")
    gridlines(axes, "x")
    legend = [
        Line2D([], [], color=ACCENT, marker="o", lw=2, label="HAM10000, out of fold"),
        Line2D([], [], color=CONTRAST, marker="s", lw=2, label="external set"),
        Line2D([], [], color=MUTED, marker="o", ms=3, lw=0, label="external set, one network each"),
    ]
    axes.legend(handles=legend, loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=3, fontsize=9)
    return figure
