"""The figures of notebook 03: learning curves."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

# Folds have no order that matters: one colour each, told apart by lightness under every colour vision.
FOLD_COLORS = plt.get_cmap("cividis")


def learning_curves(history: pd.DataFrame) -> Figure:
    """Training loss, validation loss and validation balanced accuracy by epoch, a line per fold; the kept epoch marked.

    Args:
        history: training.Result.history.
    """
    panels = {
        "loss": "training loss (weighted, with dropout)",
        "val_loss": "validation loss (plain)",
        "val_balanced_accuracy": "validation balanced accuracy",
    }
    figure, grid = plt.subplots(1, len(panels), figsize=(11, 3.4))
    folds = history["fold"].nunique()
    for axes, (column, title) in zip(grid, panels.items(), strict=True):
        for fold, rows in history.groupby("fold"):
            color = FOLD_COLORS(0.9 * fold / max(folds - 1, 1))
            axes.plot(rows["epoch"], rows[column], color=color, lw=1.3, label=f"fold {fold}")
            kept = rows[rows["chosen"]]
            axes.plot(kept["epoch"], kept[column], "o", color=color, ms=6, mec="black", mew=0.8)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=folds)
    return figure
