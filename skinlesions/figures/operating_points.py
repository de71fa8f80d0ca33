"""The figures about decisions: ROC and precision-recall curves with bands, and net benefit."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinlesions.core.formatting import estimate
from skinlesions.core.names import TASK_NAMES
from skinlesions.figures.style import MUTED, OTHER_COLORS, gridlines, legend

# Told apart by line as well; more models than these are too many for one panel.
COLORS = OTHER_COLORS[:4]
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")


def curves(table: pd.DataFrame, points: pd.DataFrame, discrimination: pd.DataFrame) -> Figure:
    """ROC and precision-recall curves with bands, a row per task, with the operating points reached on test images.

    Args:
        table: decision.tables(...)["curves"].
        points: decision.tables(...)["operating_points"]; those of the models that `table` has are drawn.
        discrimination: decision.tables(...)["discrimination"].
    """
    models, tasks = list(dict.fromkeys(table["model"])), list(dict.fromkeys(table["task"]))
    height = 4.2 + 0.17 * len(models)
    figure, grid = plt.subplots(len(tasks), 2, figsize=(9.5, height * len(tasks)), squeeze=False)
    for (left, right), task in zip(grid, tasks, strict=True):
        own = discrimination[discrimination["task"] == task].set_index("model").loc[models]
        chosen = table[table["task"] == task]
        _lines(left, chosen[chosen["curve"] == "roc"], models)
        # At a recall of 0 the precision is that of the one highest image.
        _lines(right, chosen[(chosen["curve"] == "precision_recall") & (chosen["x"] > 0)], models)
        left.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=":")
        right.axhline(own["positives"].iloc[0] / own["images"].iloc[0], color=MUTED, lw=1, ls=":")
        for number, model in enumerate(models):
            reached = points[(points["task"] == task) & (points["model"] == model)]
            left.plot(1 - reached["specificity"], reached["sensitivity"], **_marker(number))
        name = TASK_NAMES[task]
        for axes, area, title in ((left, "auc", f"{name}: AUC"), (right, "average_precision", "average precision")):
            lines = [f"{model}: {estimate(own.loc[model], area)}" for model in models]
            axes.set_title("\n".join([title, *lines]), loc="left", fontsize=9)
            _unit_square(axes)
        left.set_xlabel("1 − specificity (share of the others called)")
        left.set_ylabel("sensitivity (share found)")
        right.set_xlabel("recall (share found)")
        right.set_ylabel("precision (share of the called that are right)")
    entries: dict[str, Line2D | list[Line2D]] = {model: _handle(number) for number, model in enumerate(models)}
    marks = [Line2D([], [], **_marker(number)) for number in range(len(models))]
    entries |= {"thresholds chosen on validation folds": marks, "no skill": Line2D([], [], color=MUTED, lw=1, ls=":")}
    legend(figure, entries)
    return figure


def net_benefit(table: pd.DataFrame) -> Figure:
    """The net benefit of calling by the model, of calling every image and of calling none, a panel per task.

    Args:
        table: decision.tables(...)["curves"].
    """
    models, tasks = list(dict.fromkeys(table["model"])), list(dict.fromkeys(table["task"]))
    figure, panels = plt.subplots(1, len(tasks), figsize=(5 * len(tasks), 4.3), squeeze=False)
    for axes, task in zip(panels.flat, tasks, strict=True):
        own = table[table["task"] == task]
        chosen = own[own["curve"] == "net_benefit"]
        _lines(axes, chosen, models)
        everyone = own[(own["curve"] == "treat_all") & (own["model"] == models[0])]
        axes.plot(everyone["x"], everyone["y"], color=MUTED, lw=1.5, ls="--")
        axes.axhline(0, color="black", lw=1)
        top = max(chosen["high"].max(), everyone["y"].max(), 0.01)
        axes.set_ylim(min(-0.15 * top, 1.1 * chosen["low"].min()), 1.08 * top)
        axes.set_xlim(0, table["x"][table["curve"] == "net_benefit"].max())
        axes.set_title(TASK_NAMES[task], loc="left")
        gridlines(axes)
        axes.set_xlabel("threshold probability")
    panels[0, 0].set_ylabel("net benefit (true positives per image)")
    entries = {model: _handle(number) for number, model in enumerate(models)}
    entries["call every image"] = Line2D([], [], color=MUTED, lw=1.5, ls="--")
    entries["call none"] = Line2D([], [], color="black", lw=1)
    legend(figure, entries)
    return figure


def _lines(axes: Axes, table: pd.DataFrame, models: Sequence[str]) -> None:
    """One curve with its band per model."""
    for number, model in enumerate(models):
        own = table[table["model"] == model]
        color, line = COLORS[number % len(COLORS)], LINES[number % len(LINES)]
        axes.fill_between(own["x"], own["low"], own["high"], color=color, alpha=0.18, lw=0)
        axes.plot(own["x"], own["y"], color=color, ls=line, lw=1.8)


def _handle(number: int) -> Line2D:
    """The legend's mark for a model."""
    return Line2D([], [], color=COLORS[number % len(COLORS)], ls=LINES[number % len(LINES)], lw=1.8)


def _marker(number: int) -> dict[str, object]:
    """The operating points of a model."""
    style = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}
    return style | {"mfc": "white", "ms": 6, "mew": 1.5, "lw": 0}


def _unit_square(axes: Axes) -> None:
    """Both axes from 0 to 1, with a little room for markers at the edge."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    gridlines(axes)
