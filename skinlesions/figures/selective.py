"""The figures about answering only when sure: the risk over the coverage, and which classes are answered for."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinlesions.core.classes import CLASSES
from skinlesions.core.names import CERTAINTY_NAMES as SCORE_NAMES
from skinlesions.evaluation.selective import REFERENCE
from skinlesions.figures.operating_points import COLORS, LINES
from skinlesions.figures.style import ACCENT, CONTRAST, MUTED, gridlines, whiskers

RISKS = {"risk": "rate of error", "balanced_risk": "rate of error if all classes were equally common"}
SHARES = {"answered": "share of the class answered for", "recall": "recall among the images answered for"}
EVERYTHING = {"color": MUTED, "marker": "|", "ms": 11, "mew": 2}
# Of the other coverages, from the largest down.
POINTS = (
    {"color": ACCENT, "marker": "o", "ms": 6},
    {"color": CONTRAST, "marker": "s", "ms": 6, "mfc": "white", "mew": 1.5},
)


def risks(curves: pd.DataFrame) -> Figure:
    """The risk over the coverage with bands, a line per certainty, a panel for each of RISKS.

    Args:
        curves: selective.tables(...)["coverage_curves"].
    """
    scores = list(dict.fromkeys(curves["score"]))
    figure, panels = plt.subplots(1, len(RISKS), figsize=(10, 4.3))
    for axes, (metric, title) in zip(panels, RISKS.items(), strict=True):
        for score, color, line in zip(scores, COLORS, LINES, strict=False):
            own = curves[curves["score"] == score].sort_values("coverage")
            axes.fill_between(
                own["coverage"], own[f"{metric}_low"], own[f"{metric}_high"], color=color, alpha=0.15, lw=0
            )
            axes.plot(own["coverage"], own[metric], color=color, ls=line, lw=1.8)
        axes.set_title(title, loc="left")
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, max(1.05 * curves[f"{metric}_high"].max(), 0.01))
        axes.set_xlabel("coverage (share of the images answered for)")
        gridlines(axes)
    legend = [
        Line2D([], [], color=color, ls=line, lw=1.8, label=SCORE_NAMES.get(score, score))
        for score, color, line in zip(scores, COLORS, LINES, strict=False)
    ]
    figure.legend(handles=legend, loc="outside upper center", ncols=min(2, len(legend)), fontsize=9)
    return figure


def classes(table: pd.DataFrame, score: str = REFERENCE) -> Figure:
    """Which share of every class is answered for, and how much of it is right, with intervals: a row per class.

    Args:
        table: selective.tables(...)["coverage_classes"]; of two coverages at most, and that of all images.
        score: the certainty.
    """
    table = table[table["score"] == score]
    partial = sorted(set(table["coverage"]) - {1}, reverse=True)
    styles = {1: EVERYTHING} if (table["coverage"] == 1).any() else {}
    styles |= dict(zip(partial, POINTS, strict=False))
    rows = -np.arange(len(CLASSES))
    figure, panels = plt.subplots(1, len(SHARES), figsize=(9.5, 4.4), sharey=True)
    for axes, (metric, title) in zip(panels, SHARES.items(), strict=True):
        for place, (coverage, style) in enumerate(styles.items()):
            if metric == "answered" and coverage == 1:
                continue
            own = table[table["coverage"] == coverage].set_index("dx").loc[list(CLASSES)]
            reach = whiskers(own, metric)
            shift = 0.2 * ((len(styles) - 1) / 2 - place)
            axes.errorbar(own[metric], rows + shift, xerr=reach, ls="", elinewidth=1.5, **style)
            if metric == "answered":
                axes.axvline(coverage, color=style["color"], lw=1, ls=":")
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlim(-0.03, 1.03)
        gridlines(axes, "x")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(rows, CLASSES)
    panels[0].set_ylim(rows[-1] - 0.6, 0.6)
    legend = [
        Line2D([], [], ls="", **style, label="all images" if coverage == 1 else f"{100 * coverage:g} % of the images")
        for coverage, style in styles.items()
    ]
    legend.append(Line2D([], [], color=MUTED, lw=1, ls=":", label="if no class were left out more than others"))
    figure.legend(handles=legend, loc="outside upper center", ncols=len(legend), fontsize=9)
    return figure
