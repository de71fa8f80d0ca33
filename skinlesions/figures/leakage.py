"""The figures of notebook 06: pairs of images that leak, and what the leak and a choice on the test images add."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinlesions.evaluation.injection import HEADS
from skinlesions.evaluation.leakage import ALL, EXPOSED, UNEXPOSED
from skinlesions.figures.style import ACCENT, CLASS_COLORS, CONTRAST, MUTED, OTHER_COLORS, gridlines, legend, whiskers

# From the head that remembers least to the one that only remembers; told apart by marker too.
HEAD_COLORS = {"logistic_regression": ACCENT, "weak_penalty": OTHER_COLORS[2], "nearest_neighbour": CONTRAST}
HEAD_MARKERS = {"logistic_regression": "o", "weak_penalty": "s", "nearest_neighbour": "D"}


def pairs(tested: np.ndarray, mates: np.ndarray, names: list[str]) -> Figure:
    """Test images above another image of the same lesion each.

    Args:
        tested: uint8 [n, H, W, 3].
        mates: the same, of the other images.
        names: of the n columns.
    """
    figure, grid = plt.subplots(2, len(names), figsize=(1.5 * len(names) + 0.6, 3.4), squeeze=False)
    for row, (title, stack) in zip(grid, (("tested", tested), ("trained on", mates)), strict=True):
        for axes, image in zip(row, stack, strict=True):
            axes.imshow(image)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(title)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name)
    return figure


def doses(table: pd.DataFrame, confidence: float) -> Figure:
    """Balanced accuracy against the share of tested lesions with images in training, on images with mates and without.

    Args:
        table: leakage.injection_tables(...)["doses"].
        confidence: of the bands, for the label.
    """
    figure, panels = plt.subplots(1, 2, figsize=(10.5, 5), sharey=True, width_ratios=(1.25, 1))
    titles = {EXPOSED: "tested images whose lesion has others", UNEXPOSED: "tested images without others: the control"}
    bottom, top = table["low"].min(), table["high"].max()
    margin = max(0.05 * (top - bottom), 0.01)
    for axes, (part, title) in zip(panels, titles.items(), strict=True):
        own = table[table["part"] == part]
        for head, rows in own.groupby("head"):
            x, color = 100 * rows["dose"], HEAD_COLORS[head]
            axes.fill_between(x, rows["low"], rows["high"], color=color, alpha=0.12, lw=0)
            axes.plot(x, rows["balanced_accuracy"], color=color, marker=HEAD_MARKERS[head], ms=6, lw=2)
        for dose, x, side in ((own["dose"].min(), -4, "right"), (own["dose"].max(), 104, "left")):
            ends = own[own["dose"] == dose].set_index("head")["balanced_accuracy"]
            heights = spread(ends.to_numpy(), 0.05 * (top - bottom + 2 * margin))
            for (head, value), height in zip(ends.items(), heights, strict=True):
                label = {"ha": side, "va": "center", "color": HEAD_COLORS[head], "fontsize": 9}
                axes.text(x, height, f"{value:.2f}", **label)
        count = f" (n = {own['images'].iloc[0]:,})" if len(own) else " (none)"
        axes.set_title(f"{title}{count}", loc="left")
        axes.set_xticks([0, 25, 50, 75, 100])
        axes.set_xlim(-16, 116)
        gridlines(axes, "y")
    panels[0].set_ylim(bottom - margin, top + margin)
    panels[0].set_ylabel(f"balanced accuracy, with {100 * confidence:g} % band")
    figure.supxlabel("lesions with several images: share of them whose other images are trained on, %", fontsize=10)
    handles = [
        Line2D([], [], color=HEAD_COLORS[head], marker=HEAD_MARKERS[head], label=name) for head, name in HEADS.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def spread(values: np.ndarray, gap: float) -> np.ndarray:
    """`values` [n] moved apart as little as needed for neighbours to be at least `gap` from each other, same order."""
    order = np.argsort(values, kind="stable")
    moved = np.array(values, dtype=np.float64)[order]
    # Each pass halves what is missing between neighbours, so that a cluster grows about its middle.
    for _ in range(100):
        missing = np.maximum(gap - np.diff(moved), 0) / 2
        moved[:-1] -= missing
        moved[1:] += missing
    result = np.empty_like(moved)
    result[order] = moved
    return result


def changes(table: pd.DataFrame, confidence: float) -> Figure:
    """The change of every metric when the mates come in, on exposed images, a panel per head.

    Args:
        table: leakage.injection_tables(...)["changes"].
        confidence: of the intervals, for the label.
    """
    own = table[(table["part"] == EXPOSED) & (table["metric"] != "accuracy")]
    metrics = list(dict.fromkeys(own["metric"]))
    figure, panels = plt.subplots(1, len(HEADS), figsize=(10.5, 1.6 + 0.32 * max(1, len(metrics))), sharey=True)
    for axes, (head, name) in zip(panels, HEADS.items(), strict=True):
        rows = own[own["head"] == head]
        positions = -np.arange(len(rows))
        reach = 100 * whiskers(rows, "change", ends="")
        style = {"fmt": HEAD_MARKERS[head], "color": HEAD_COLORS[head], "ms": 5, "lw": 1.8}
        axes.errorbar(100 * rows["change"], positions, xerr=reach, **style)
        axes.axvline(0, color=MUTED, lw=1)
        axes.set_title(name, loc="left")
        gridlines(axes, "x")
        axes.tick_params(axis="y", length=0)
    labels = [
        f"{metric.removeprefix('recall_').replace('_', ' ').replace('auc', 'AUC')}"
        + (f" (n = {images:,})" if metric.startswith("recall_") else "")
        for metric, images in own.drop_duplicates("metric")[["metric", "images"]].itertuples(index=False)
    ]
    panels[0].set_yticks(-np.arange(len(metrics)), labels)
    figure.supxlabel(f"change in points, with {100 * confidence:g} % interval; of a class: of its recall", fontsize=10)
    return figure


def original(shared: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """How much of the original's validation set is shared with its training set, and what that adds to its scores.

    Args:
        shared: leakage.shared_lesions(...).
        scores: leakage.original_table(...).
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9), width_ratios=(1, 1.25))
    colors = [CLASS_COLORS.get(name, MUTED) for name in shared["dx"]]
    positions = -np.arange(len(shared))
    left.barh(positions, 100 * shared["share"], color=colors, height=0.7)
    for height, row in zip(positions, shared.itertuples(), strict=True):
        left.text(100 * row.share + 1.5, height, f"{row.shared:,} of {row.images:,}", va="center", fontsize=9)
    left.set_yticks(positions, shared["dx"])
    left.set_xlim(0, 100)
    left.tick_params(axis="y", length=0)
    left.set_xlabel("validation images whose lesion is trained on, %")

    groups = [(part, head) for part in (EXPOSED, ALL) for head in HEADS]
    balanced = scores[scores["metric"] == "balanced_accuracy"].set_index(["part", "head"])
    for place, key in enumerate(groups):
        if key in balanced.index:
            _both_ways(right, -place - (place >= len(HEADS)), balanced.loc[key], HEAD_COLORS[key[1]])
    rows = [-position - (position >= len(HEADS)) for position in range(len(groups))]
    right.set_yticks(rows, [HEADS[head].replace(", ", ",\n") for _, head in groups], fontsize=9)
    for part, row in zip((EXPOSED, ALL), (0.62, -len(HEADS) - 0.38), strict=True):
        count = balanced.loc[part, "images"].iloc[0] if part in balanced.index.get_level_values(0) else 0
        words = "images with mates" if part == EXPOSED else "all validation images"
        right.text(0.02, row, f"{words} (n = {count:,})", fontsize=9, fontweight="bold", va="center")
    right.set_xlim(0, 1)
    right.set_ylim(rows[-1] - 0.6, 1.1)
    right.tick_params(axis="y", length=0)
    right.set_xlabel("balanced accuracy")
    gridlines(right, "x")
    marks = {
        "lesion-mates out": {"marker": "o", "mfc": "white"},
        "lesion-mates in, as many images": {"marker": "o"},
        "as published": {"marker": "|", "ms": 11, "mew": 2},
    }
    entries = {
        name: [Line2D([], [], color=color, lw=0, **mark) for color in HEAD_COLORS.values()]
        for name, mark in marks.items()
    }
    legend(figure, entries, loc="outside upper right", ncols=3)
    return figure


def _both_ways(axes: Axes, row: float, score: pd.Series, color: str) -> None:
    """One head's score without mates, with them, and as the original trains."""
    axes.annotate(
        "", (score["injected"], row), (score["clean"], row), arrowprops={"arrowstyle": "-", "color": color, "lw": 2}
    )
    axes.plot(score["published"], row, "|", color=color, ms=13, mew=2)
    axes.plot(score["clean"], row, "o", color=color, mfc="white", ms=7, mew=1.8)
    axes.plot(score["injected"], row, "o", color=color, ms=7)
    right = max(score["injected"], score["clean"], score["published"])
    axes.text(right + 0.025, row, f"{100 * score['change']:+z.1f}", va="center", fontsize=9, color=color)


def selection(epochs: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Every fold's checkpoints on its validation and test images, and the two that are chosen.

    Args:
        epochs: leakage.selection_tables(...)["epochs"].
        table: leakage.selection_tables(...)["selection"].
    """
    folds = sorted(set(epochs["fold"]))
    figure, panels = plt.subplots(1, len(folds), figsize=(2.15 * len(folds) + 0.8, 3.3), sharey=True, squeeze=False)
    for axes, fold in zip(panels.flat, folds, strict=True):
        own, row = epochs[epochs["fold"] == fold], table[table["fold"] == str(fold)].iloc[0]
        axes.plot(own["epoch"], own["validation"], color=MUTED, lw=1.2, ls="--")
        axes.plot(own["epoch"], own["test"], color=ACCENT, lw=1.5)
        axes.plot(row["validation_epoch"], row["by_validation"], "o", color=ACCENT, mfc="white", ms=8, mew=1.8)
        axes.plot(row["test_epoch"], row["by_test"], "D", color=CONTRAST, ms=7)
        axes.set_title(f"fold {fold}: {100 * row['change']:+z.1f}", loc="left")
        gridlines(axes, "y")
    panels[0, 0].set_ylabel("balanced accuracy")
    figure.supxlabel("epoch; beside the fold, what the choice on its test images adds, in points", fontsize=10)
    entries = {
        "validation images": Line2D([], [], color=MUTED, lw=1.2, ls="--"),
        "test images": Line2D([], [], color=ACCENT, lw=1.5),
        "chosen on validation": Line2D([], [], color=ACCENT, marker="o", mfc="white", ms=8, mew=1.8, lw=0),
        "chosen on test": Line2D([], [], color=CONTRAST, marker="D", ms=7, lw=0),
    }
    legend(figure, entries)
    return figure
