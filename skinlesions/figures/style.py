"""One look for every figure, and files that do not change from run to run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple

from skinlesions.core import files

# Okabe & Ito (2008): told apart under every common colour-vision deficiency.
CLASS_COLORS = {
    "akiec": "#E69F00",
    "bcc": "#D55E00",
    "bkl": "#56B4E9",
    "df": "#009E73",
    "mel": "#000000",
    "nv": "#0072B2",
    "vasc": "#CC79A7",
}
# For all that is not a class: models, groups, ways. As far from each other and from every class as can be, also for
# eyes that do not tell red from green; from dark to light in the order 0, 2, 4, 1, 3.
OTHER_COLORS = ("#332288", "#6B7A00", "#882255", "#DDCC77", "#7A4B2A")
ACCENT, CONTRAST, *_ = OTHER_COLORS
MUTED = "#8A8A8A"
LIGHT = "#D0D0D0"
GRID_COLOR = "#E6E6E6"

# Of the cells of a table, by their value: what is empty is as white as the paper.
CELLS = LinearSegmentedColormap.from_list("cells", ["white", ACCENT])


def use_style() -> None:
    """Apply the project's matplotlibrc to this process; notebooks call it once, before the first figure.

    Under IPython it also turns inline display on: matplotlibrc names the file-only backend for all else.
    """
    matplotlib.rc_file(Path(__file__).with_name("matplotlibrc"))
    try:
        from IPython import get_ipython
    except ImportError:
        return
    if (shell := get_ipython()) is not None:
        shell.run_line_magic("matplotlib", "inline")
        matplotlib.rcParams["figure.dpi"] = 100


def ink(color: object) -> str:
    """Black or white, whichever is legible on `color`."""
    red, green, blue = to_rgb(color)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


def gridlines(axes: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    """Pale lines across `axes`, from the ticks of `axis`, behind all that is drawn."""
    axes.set_axisbelow(True)
    axes.grid(axis=axis, color=GRID_COLOR)


def whiskers(table: pd.DataFrame, name: str, ends: str | None = None) -> np.ndarray:
    """How far the interval of `name` reaches below and above its estimate, float64 [2, N].

    Args:
        ends: what stands before `low` and `high` in the names of the ends; None: `name` and a line.
    """
    prefix = f"{name}_" if ends is None else ends
    reach = np.stack([table[name] - table[f"{prefix}low"], table[f"{prefix}high"] - table[name]])
    # A percentile interval need not hold its estimate; the whisker then ends there.
    return reach.astype(np.float64).clip(0)


def legend(figure: Figure, entries: Mapping[str, Artist | Sequence[Artist]], **settings: Any) -> None:
    """A legend outside the panels of `figure`.

    Args:
        entries: what stands beside each text: a mark as it is drawn, or one in each of the colours in which it is.
        settings: loc, ncols and what else matplotlib's own legend takes; without ncols as many columns as fit.
    """
    # A character is about 0.075 inches wide, a mark with what is around it about 8 characters.
    columns = int(figure.get_figwidth() / (0.075 * (8 + max(map(len, entries)))))
    handles = [entry if isinstance(entry, Artist) else tuple(entry) for entry in entries.values()]
    own: dict[str, Any] = {"fontsize": 9, "loc": "outside upper center", "ncols": max(1, min(columns, len(entries)))}
    figure.legend(handles, list(entries), handler_map={tuple: HandlerTuple(ndivide=None)}, **(own | settings))


def save(figure: Figure, folder: Path, name: str) -> Figure:
    """Write `figure` to folder/name.png and folder/name.svg, without dates or versions inside, and return it.

    The figure is closed, so that a notebook shows it once, as the value of its cell.
    """
    for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None, "Creator": None})):
        with files.replacing(folder / f"{name}{suffix}") as temporary:
            figure.savefig(temporary, format=suffix[1:], metadata=metadata)
    plt.close(figure)
    return figure
