"""Confusion matrices, of one model or of many side by side."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from skinlesions.core.classes import CLASSES
from skinlesions.figures.style import CELLS, ink

PANELS_PER_ROW = 3


def confusion_matrices(confusion: pd.DataFrame) -> Figure:
    """One confusion matrix per model side by side, in % of the images of the true class.

    Args:
        confusion: classification.confusion_table of every model, one after the other.
    """
    models = list(dict.fromkeys(confusion["model"]))
    columns = min(PANELS_PER_ROW, len(models))
    rows = -(-len(models) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(3.7 * columns + 0.6, 3.5 * rows), squeeze=False)
    image = None
    for axes, model in zip(grid.flat, models, strict=False):
        own = confusion[confusion["model"] == model]
        percent = 100 * own["share"].to_numpy().reshape(len(CLASSES), len(CLASSES))
        image = axes.imshow(percent, cmap=CELLS, vmin=0, vmax=100)
        for (i, j), value in np.ndenumerate(percent):
            if value >= 0.5:
                color = ink(CELLS(value / 100))
                axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=8, color=color)
        axes.set_xticks(range(len(CLASSES)), CLASSES, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(range(len(CLASSES)), CLASSES, fontsize=8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(model, loc="left")
    for axes in list(grid.flat)[len(models) :]:
        axes.set_visible(False)
    figure.supxlabel("predicted class", fontsize=10)
    figure.supylabel("true class", fontsize=10)
    figure.colorbar(image, ax=grid, shrink=0.6 / rows**0.5, label="% of the true class")
    return figure
