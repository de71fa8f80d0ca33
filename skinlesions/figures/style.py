"""One look for every figure, and files that do not change from run to run."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

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
ACCENT = "#0072B2"
CONTRAST = "#D55E00"
MUTED = "#8A8A8A"


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


def save(figure: Figure, folder: Path, name: str) -> Figure:
    """Write `figure` to folder/name.png and folder/name.svg, without dates or versions inside, and return it.

    The figure is closed, so that a notebook shows it once, as the value of its cell.
    """
    for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None, "Creator": None})):
        with files.replacing(folder / f"{name}{suffix}") as temporary:
            figure.savefig(temporary, format=suffix[1:], metadata=metadata)
    plt.close(figure)
    return figure
