"""The figures of notebook 04, drawn from the tables of skinlesions.evaluation.comparison.

Models keep the order of the tables, the best balanced accuracy first. Small samples may lack a class or a correct
prediction: what is undefined is left blank.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinlesions.core.classes import CLASSES
from skinlesions.core.names import ALWAYS_NV, METRIC_NAMES, display_name
from skinlesions.core.names import ENSEMBLE_NAMES as WAY_NAMES
from skinlesions.evaluation.ensembles import REFERENCE
from skinlesions.figures.style import ACCENT, CELLS, CLASS_COLORS, CONTRAST, LIGHT, MUTED, gridlines, ink, whiskers

# How models.networks calls a model without a backbone, for which there are no weights to be had; not imported: figures
# need no Keras.
FROM_SCRATCH = "from scratch"

# Dark, middle and light: the bars are told apart in greyscale too.
BAR_COLORS = {"balanced_accuracy": ACCENT, "accuracy": MUTED, "weighted_f1": LIGHT}
WHISKER = "#333333"


def labels(comparison: pd.DataFrame) -> list[str]:
    """The models as the figures write them, with what would otherwise mislead: weights that are not ImageNet's.

    Args:
        comparison: comparison.tables()["comparison"].
    """
    untrained = (comparison["training"] != FROM_SCRATCH) & (comparison["initialisation"] == "random")
    return [
        display_name(name) + (" (random weights)" if marked else "")
        for name, marked in zip(comparison["model"], untrained, strict=True)
    ]


def scores(comparison: pd.DataFrame, confidence: float) -> Figure:
    """Balanced accuracy, accuracy and weighted F1 of every model as bars with intervals.

    Args:
        comparison: comparison.tables()["comparison"].
        confidence: of the intervals, for the label.
    """
    figure, axes = plt.subplots(figsize=(max(6.0, min(1.15, 4 / len(comparison) + 0.6) * len(comparison)), 5.2))
    positions = np.arange(len(comparison))
    for offset, (metric, color) in zip((-0.27, 0, 0.27), BAR_COLORS.items(), strict=True):
        values = comparison[metric]
        axes.bar(positions + offset, values, width=0.25, color=color, label=METRIC_NAMES[metric])
        axes.errorbar(positions + offset, values, whiskers(comparison, metric), fmt="none", ecolor=WHISKER, lw=1)
    for position, value, high in zip(
        positions, comparison["balanced_accuracy"], comparison["balanced_accuracy_high"], strict=True
    ):
        axes.text(position - 0.27, high + 0.012, f"{value:.2f}", ha="center", va="bottom", fontsize=8, color=ACCENT)
    axes.set_xticks(positions, labels(comparison), rotation=30, ha="right", rotation_mode="anchor")
    axes.set_ylim(0, 1)
    axes.set_ylabel(f"score, with {100 * confidence:g} % interval")
    gridlines(axes, "y")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


def forest(comparison: pd.DataFrame, folds: pd.DataFrame) -> Figure:
    """The balanced accuracy of every model with its interval, its value in words, and the test folds one by one.

    Args:
        comparison: comparison.tables()["comparison"].
        folds: comparison.tables()["folds"].
    """
    metric = "balanced_accuracy"
    reference = comparison.loc[comparison["model"] == ALWAYS_NV, metric]
    comparison = comparison[comparison["model"] != ALWAYS_NV]
    figure, axes = plt.subplots(figsize=(8.5, 1.5 + 0.38 * len(comparison)))
    positions = -np.arange(len(comparison))
    for position, model in zip(positions, comparison["model"], strict=True):
        own = folds.loc[folds["model"] == model, "balanced_accuracy"]
        axes.plot(own, np.full(len(own), position - 0.22), "o", color=MUTED, ms=3, mew=0)
    axes.errorbar(
        comparison[metric], positions, xerr=whiskers(comparison, metric), fmt="o", color=ACCENT, ms=6, lw=2, capsize=0
    )
    rows = comparison[[metric, f"{metric}_low", f"{metric}_high"]].itertuples(index=False)
    for position, (value, low, high) in zip(positions, rows, strict=True):
        axes.text(
            1.02, position, f"{value:.3f} ({low:.3f}–{high:.3f})", va="center", transform=axes.get_yaxis_transform()
        )
    axes.axvline(reference.iloc[0], color=CONTRAST, lw=1, ls="--")
    axes.set_xlim(left=0, right=min(1.0, 1.08 * max(comparison[f"{metric}_high"].max(), folds[metric].max())))
    axes.set_ylim(positions[-1] - 0.6, 0.6)
    axes.set_yticks(positions, labels(comparison))
    axes.set_xlabel("balanced accuracy (mean recall of the classes)")
    legend = [
        Line2D([], [], color=ACCENT, marker="o", lw=2, label="all images, with interval"),
        Line2D([], [], color=MUTED, marker="o", ms=3, lw=0, label="one test fold each"),
        Line2D([], [], color=CONTRAST, lw=1, ls="--", label="always “nv”"),
    ]
    axes.legend(handles=legend, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9)
    return figure


def differences(differences: pd.DataFrame, alpha: float) -> Figure:
    """The paired differences of balanced accuracy, in points: the model of the row less that of the column.

    Args:
        differences: comparison.tables()["differences"]; without a pair the figure says so.
        alpha: pairs whose Holm-adjusted p-value is below it are printed bold.
    """
    if differences.empty:
        return _words("one model, no pairs")
    order = list(dict.fromkeys([*differences["model"], *differences["other"]]))
    size = len(order) - 1
    points = np.full((size, size), np.nan)
    figure, axes = plt.subplots(figsize=(3.2 + 0.75 * size, 2.4 + 0.48 * size))
    largest = max(100 * differences["difference"].max(), 1e-9)
    for row in differences.itertuples():
        i, j = order.index(row.model), order.index(row.other) - 1
        points[i, j] = 100 * row.difference
        significant = row.p_holm < alpha
        axes.text(
            j,
            i,
            f"{points[i, j]:.1f}",
            ha="center",
            va="center",
            color=ink(CELLS(points[i, j] / largest)),
            fontweight="bold" if significant else "normal",
            fontstyle="normal" if significant else "italic",
        )
    axes.imshow(points, cmap=CELLS, vmin=0, vmax=largest, aspect="auto")
    axes.set_xticks(
        range(size), [display_name(name) for name in order[1:]], rotation=30, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(size), [display_name(name) for name in order[:-1]])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(f"row less column, points of balanced accuracy\nbold: adjusted p < {alpha:.2g}", loc="left")
    return figure


def recalls(classes: pd.DataFrame) -> Figure:
    """The recall of every class by every model, with intervals: a panel per class, a row per model.

    Args:
        classes: comparison.tables()["classes"].
    """
    models = list(dict.fromkeys(classes["model"]))
    positions = -np.arange(len(models))
    figure, panels = plt.subplots(1, len(CLASSES), figsize=(12, 1.8 + 0.34 * len(models)), sharey=True, squeeze=False)
    for axes, name in zip(panels.flat, CLASSES, strict=True):
        own = classes[classes["dx"] == name].set_index("model").loc[models]
        reach = whiskers(own, "recall")
        axes.errorbar(own["recall"], positions, xerr=reach, fmt="o", color=CLASS_COLORS[name], ms=4, lw=1.5)
        axes.set_title(f"{name}\n{own['images'].iloc[0]:,} images", fontsize=10)
        axes.set_xlim(-0.04, 1.04)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        gridlines(axes)
        axes.tick_params(axis="y", length=0)
    panels[0, 0].set_yticks(positions, [display_name(name) for name in models])
    panels[0, 0].set_ylim(positions[-1] - 0.6, 0.6)
    figure.supxlabel("recall", fontsize=10)
    return figure


def ensembles(table: pd.DataFrame) -> Figure:
    """What every way to make an ensemble gains over the mean of its members, in points, with intervals.

    Args:
        table: ensembles.compare(...).
    """
    others = table[table["way"] != REFERENCE]
    figure, axes = plt.subplots(figsize=(8.5, 1.5 + 0.42 * len(others)))
    positions = -np.arange(len(others))
    gain = 100 * others[["difference", "difference_low", "difference_high"]]
    axes.axvline(0, color=CONTRAST, lw=1, ls="--")
    reach = whiskers(gain, "difference")
    axes.errorbar(gain["difference"], positions, xerr=reach, fmt="o", color=ACCENT, ms=6, lw=2)
    for position, row in zip(positions, others.itertuples(), strict=True):
        text = f"{row.balanced_accuracy:.3f} ({row.balanced_accuracy_low:.3f}–{row.balanced_accuracy_high:.3f})"
        axes.text(1.02, position, text, va="center", transform=axes.get_yaxis_transform())
    axes.set_yticks(positions, [WAY_NAMES[way] for way in others["way"]])
    axes.set_ylim(positions[-1] - 0.6, 0.6)
    axes.set_xlabel(f"points of balanced accuracy more than the {WAY_NAMES[REFERENCE]}")
    return figure


def transfer(table: pd.DataFrame) -> Figure:
    """Pairs of models that differ in one thing: both scores with intervals, joined, a row per pair.

    Args:
        table: transfer.table(...); without a pair the figure says so.
    """
    if table.empty:
        return _words("no pair of models to compare")
    figure, axes = plt.subplots(figsize=(8.5, 1.3 + 0.75 * len(table)))
    positions = -np.arange(len(table), dtype=float)
    axes.hlines(positions, table["other_score"], table["score"], color=LIGHT, lw=4)
    for score, prefix, marker, color in (("other_score", "other", "s", CONTRAST), ("score", "score", "o", ACCENT)):
        reach = whiskers(table, score, ends=f"{prefix}_")
        axes.errorbar(table[score], positions, xerr=reach, fmt=marker, color=color, ms=7, lw=2)
    for position, row in zip(positions, table.itertuples(), strict=True):
        text = f"{100 * row.difference:+z.1f} points ({100 * row.low:+z.1f} to {100 * row.high:+z.1f})"
        axes.text(1.02, position, text, va="center", transform=axes.get_yaxis_transform())
    names = [f"{row.question}\n{row.model}\ninstead of {row.other}" for row in table.itertuples()]
    axes.set_yticks(positions, names, fontsize=9)
    axes.set_ylim(positions[-1] - 0.6, 0.6)
    axes.set_xlim(0, 1)
    gridlines(axes, "x")
    axes.set_xlabel("balanced accuracy")
    legend = [
        Line2D([], [], color=CONTRAST, marker="s", ms=7, lw=2, label="with what it replaces"),
        Line2D([], [], color=ACCENT, marker="o", ms=7, lw=2, label="with it"),
    ]
    axes.legend(handles=legend, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=9)
    return figure


def claims(claims: pd.DataFrame) -> Figure:
    """The original's claims, what its own confusion matrices say, and what this run measured, model by model.

    Args:
        claims: comparison.tables()["claims"].
    """
    figure, axes = plt.subplots(figsize=(8.5, 1.6 + 0.5 * len(claims)))
    positions = -np.arange(len(claims), dtype=float)
    axes.hlines(positions, claims["original_balanced_accuracy"], claims["claimed_accuracy"], color=LIGHT, lw=4)
    axes.plot(claims["claimed_accuracy"], positions, "D", color=MUTED, ms=7, label="original: accuracy claimed")
    axes.plot(
        claims["original_balanced_accuracy"],
        positions,
        "s",
        color=CONTRAST,
        ms=7,
        label="original: balanced accuracy of its matrices",
    )
    axes.errorbar(
        claims["our_balanced_accuracy"],
        positions - 0.22,
        xerr=whiskers(claims, "our_balanced_accuracy"),
        fmt="o",
        color=ACCENT,
        ms=6,
        lw=2,
        label="here: balanced accuracy, with interval",
    )
    axes.set_yticks(positions, claims["model"])
    axes.set_ylim(positions[-1] - 0.6, 0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("score")
    gridlines(axes, "x")
    axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2, fontsize=9)
    return figure


def _words(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure, axes = plt.subplots(figsize=(5, 1))
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    axes.axis("off")
    return figure
