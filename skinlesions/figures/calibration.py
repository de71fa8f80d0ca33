"""The figures about calibration: what a model states against what is so, and how far each way to scale it gets."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinlesions.core.names import CALIBRATION_NAMES as WAY_NAMES
from skinlesions.evaluation.reliability import CHANCES, PREDICTED, SCORE_NAMES
from skinlesions.figures.style import ACCENT, CONTRAST, GRID_COLOR, MUTED, OTHER_COLORS, gridlines, whiskers

COLUMNS = 4

# Told apart by shape, and the way as trained by being hollow, as well as by colour.
STYLES: dict[str, dict[str, Any]] = {
    "as_trained": {"color": CONTRAST, "marker": "o", "mfc": "white", "ls": "--"},
    "temperature": {"color": OTHER_COLORS[2], "marker": "D", "ls": ":"},
    "vector": {"color": ACCENT, "marker": "s", "ls": "-"},
    "prior_corrected": {"color": OTHER_COLORS[3], "marker": "^", "ls": "-."},
    "prior_corrected_temperature": {"color": OTHER_COLORS[4], "marker": "v", "ls": (0, (5, 1, 1, 1, 1, 1))},
}
TICKS = (0, 0.01, 0.1, 0.25, 0.5, 1)


def reliability(table: pd.DataFrame, model: str, ways: Sequence[str] = ("as_trained", "vector")) -> Figure:
    """Reliability diagrams of one model: the share of images that are of a class over the probability stated for it.

    The first panel is about the predicted class whichever it is, the others about one class each. Those have
    square-root scales, because most images have a probability near 0 of most classes.

    Args:
        table: reliability.tables(...)["reliability"].
        model: whose diagrams.
        ways: which are compared in each panel; two can be read, more hide each other.
    """
    own = table[(table["model"] == model) & table["way"].isin(ways)]
    names = list(dict.fromkeys(own["dx"]))
    rows = -(-len(names) // COLUMNS)
    figure, panels = plt.subplots(rows, COLUMNS, figsize=(2.9 * COLUMNS, 2.9 * rows + 0.7), squeeze=False)
    for axes, name in zip(panels.flat, names, strict=False):
        for way in ways:
            _curve(axes, own[(own["dx"] == name) & (own["way"] == way)], way)
        _diagonal(axes, root=name != PREDICTED)
        axes.set_title("predicted class" if name == PREDICTED else name, loc="left")
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    figure.supxlabel("stated probability (%), mean of the bin (single classes: square-root scales)", fontsize=10)
    figure.supylabel("share of the images of the class (%)", fontsize=10)
    legend = [_handle(way, lw=1.5) for way in ways]
    legend.append(Line2D([], [], color=MUTED, lw=1, label="perfectly calibrated"))
    figure.legend(handles=legend, loc="outside upper center", ncols=len(legend), fontsize=9, title=model)
    return figure


def errors(table: pd.DataFrame, scores: Sequence[str] = ("nll", "class_ece")) -> Figure:
    """The scores of every model by every way with intervals, a panel per score, a row per model; less is better.

    Args:
        table: reliability.tables(...)["calibration"]; models keep its order.
        scores: of reliability.SCORES. For calibration errors a line marks what honest probabilities would show.
    """
    models, ways = list(dict.fromkeys(table["model"])), [way for way in WAY_NAMES if way in set(table["way"])]
    # The ways of a model one below the other, so that none hides another.
    step = 0.8 / len(ways)
    figure, panels = plt.subplots(
        1, len(scores), figsize=(2.5 + 3.6 * len(scores), 1.5 + 0.5 * len(models)), sharey=True, squeeze=False
    )
    for axes, score in zip(panels.flat, scores, strict=True):
        for place, way in enumerate(ways):
            own = table[table["way"] == way]
            rows = np.array([-models.index(name) for name in own["model"]]) + 0.4 - step * (place + 0.5)
            reach = whiskers(own, score)
            style = {**STYLES[way], "ls": "none", "ms": 4, "mew": 1}
            axes.errorbar(own[score], rows, xerr=reach, elinewidth=1.2, **style)
            if score in CHANCES:
                axes.plot(own[f"{score}_chance"], rows, ls="none", marker="|", ms=6, mew=1.5, color=MUTED)
        axes.set_title(SCORE_NAMES[score], fontsize=10)
        axes.locator_params(axis="x", nbins=6)
        gridlines(axes, "x")
        axes.tick_params(axis="y", length=0)
        for row in range(1, len(models)):
            axes.axhline(0.5 - row, color=GRID_COLOR, lw=0.8, zorder=0)
        if score in CHANCES:
            axes.set_xlim(left=0)
    panels[0, 0].set_yticks(-np.arange(len(models)), models)
    panels[0, 0].set_ylim(0.5 - len(models), 0.5)
    legend = [_handle(way, lw=0) for way in ways]
    if set(scores) & set(CHANCES):
        legend.append(Line2D([], [], color=MUTED, lw=0, marker="|", ms=8, mew=1.5, label="expected by chance"))
    figure.legend(handles=legend, loc="outside upper center", ncols=3, fontsize=9)
    return figure


def _curve(axes: Axes, rows: pd.DataFrame, way: str) -> None:
    """One way's bins with their intervals, joined."""
    reach = whiskers(rows, "share", ends="")
    axes.errorbar(rows["confidence"], rows["share"], yerr=reach, ms=4, mew=1.1, lw=1.2, elinewidth=1, **STYLES[way])


def _diagonal(axes: Axes, *, root: bool) -> None:
    """Both axes from 0 to 1 in percent, `root` scaled or not, and the line on which honest probabilities lie."""
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, zorder=1)
    for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        if root:
            scale("function", functions=(_root, lambda values: np.sign(values) * np.square(values)))
        ticks = TICKS if root else (0, 0.25, 0.5, 0.75, 1)
        axis.set_ticks(ticks, [f"{100 * tick:.0f}" for tick in ticks])
    # A little room for markers at the edges.
    ends = (-0.0006, 1.05) if root else (-0.025, 1.025)
    axes.set(xlim=ends, ylim=ends, box_aspect=1)
    gridlines(axes)


def _root(values: np.ndarray) -> np.ndarray:
    """The square root, continued below 0, where the axes begin."""
    return np.sign(values) * np.sqrt(np.abs(values))


def _handle(way: str, lw: float) -> Line2D:
    """The legend's entry for a way."""
    return Line2D([], [], **{**STYLES[way], "lw": lw, "ms": 5, "mew": 1.2, "label": WAY_NAMES[way]})
