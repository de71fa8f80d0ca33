"""The figures of notebook 02: folds, strategies, augmentations."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from matplotlib.figure import Figure

from skinlesions.core.classes import CLASSES
from skinlesions.figures.style import ACCENT, CELLS, CLASS_COLORS, CONTRAST, MUTED, gridlines, whiskers

# More numbers than these under a narrow panel run into each other.
MOST_TICKS = 5


def folds(counts: pd.DataFrame) -> Figure:
    """The share of every class that each fold holds, a panel per class.

    Args:
        counts: fold, then the number of images of each class.
    """
    figure, panels = plt.subplots(1, len(CLASSES), figsize=(11, 2.6), sharey=True)
    for axes, name in zip(panels, CLASSES, strict=True):
        shares = 100 * counts[name] / counts[name].sum()
        axes.bar(counts["fold"], shares, color=CLASS_COLORS[name])
        axes.axhline(100 / len(counts), color=MUTED, lw=1, ls="--")
        axes.set_title(f"{name} (n = {counts[name].sum():,})", fontsize=9)
        axes.set_xticks(counts["fold"][:: -(-len(counts) // MOST_TICKS)])
        axes.set_xlabel("fold")
    panels[0].set_ylabel("share of the class, %")
    return figure


def strategies(table: pd.DataFrame, chosen: str) -> Figure:
    """Balanced accuracy of the strategies on test and validation folds, and the recall of every class.

    Args:
        table: balancing.summarise(...).
        chosen: the strategy that goes to training; its name is set in bold.
    """
    positions = np.arange(len(table)) + 0.5  # the rows of the heat map
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 1.6 + 0.42 * len(table)), sharey=True, width_ratios=(1.1, 1)
    )
    recalls = 100 * table[[f"recall_{name}" for name in CLASSES]].to_numpy()
    seaborn.heatmap(
        recalls, ax=right, vmin=0, vmax=100, cmap=CELLS, annot=True, fmt=".0f", cbar=False, xticklabels=CLASSES
    )
    right.set_xlabel("recall on the test folds, %")
    right.tick_params(length=0)
    score = table["balanced_accuracy"]
    reach = whiskers(table, "balanced_accuracy", ends="")
    left.errorbar(score, positions, xerr=reach, fmt="o", color=ACCENT, capsize=3, label="test folds, with interval")
    validated = table["validation_balanced_accuracy"]
    left.scatter(validated, positions + 0.22, marker="D", s=22, color=CONTRAST, label="validation folds")
    left.set_xlabel("balanced accuracy")
    left.set_yticks(positions, table["strategy"].str.replace("_", " "))
    for label, strategy in zip(left.get_yticklabels(), table["strategy"], strict=True):
        label.set_fontweight("bold" if strategy == chosen else "normal")
    gridlines(left, "x")
    figure.legend(loc="outside lower left", ncols=2)
    return figure


def augmentations(originals: np.ndarray, augmented: dict[str, np.ndarray]) -> Figure:
    """A few images and what each augmentation made of them.

    Args:
        originals: uint8 [n, H, W, 3].
        augmented: by the name of the augmentation, [m, n, H, W, 3] with values 0 to 255: m draws of each image.
    """
    draws = sum(len(stack) for stack in augmented.values())
    size = (1.35 * (1 + draws), 1.42 * len(originals) + 0.3)
    figure, grid = plt.subplots(len(originals), 1 + draws, figsize=size, squeeze=False)
    for row, image in zip(grid, originals, strict=True):
        row[0].imshow(image)
    column = 1
    grid[0, 0].set_title("the image", fontsize=9)
    for name, stack in augmented.items():
        for number, images in enumerate(stack, start=1):
            for row, image in zip(grid[:, column], images, strict=True):
                row.imshow(np.clip(image, 0, 255).astype("uint8"))
            grid[0, column].set_title(f"{name} {number}", fontsize=9)
            column += 1
    for axes in grid.flat:
        axes.set_axis_off()
    return figure
