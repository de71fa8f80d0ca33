"""The figures of notebook 03: learning curves."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, ScalarFormatter


def learning_curves(history: pd.DataFrame) -> Figure:
    """Training loss, validation loss and validation balanced accuracy by epoch, a line per fold; the kept epoch marked.

    Args:
        history: training.Result.history.
    """
    panels = {
        "loss": "training loss (with dropout and weight decay)",
        "val_loss": "validation loss (plain)",
        "val_balanced_accuracy": "validation balanced accuracy",
    }
    figure, grid = plt.subplots(1, len(panels), figsize=(11, 3.4))
    colors = seaborn.color_palette("cividis", history["fold"].nunique())
    for axes, (column, title) in zip(grid, panels.items(), strict=True):
        shared = {"x": "epoch", "y": column, "hue": "fold", "palette": colors, "legend": False, "ax": axes}
        lines_only = {"estimator": None, "units": "fold"}
        seaborn.lineplot(history, **shared, **lines_only)
        seaborn.scatterplot(history[history["chosen"]], **shared, s=45, edgecolor="black", zorder=3)
        axes.set(title=title, ylabel="")
        if column == "loss":  # the weight decay of the first epochs would flatten everything after them
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(ScalarFormatter())
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.get_major_locator().set_params(integer=True)
    lines = [Line2D([], [], color=color) for color in colors]
    figure.legend(
        lines, [f"fold {fold}" for fold in sorted(history["fold"].unique())], loc="outside lower center", ncols=8
    )
    return figure
