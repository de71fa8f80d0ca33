"""One style, and files that are the same bytes whenever and wherever they are drawn."""

import subprocess
import sys
import textwrap

import matplotlib
import matplotlib.pyplot as plt
import pytest

from skinlesions.core import paths
from skinlesions.core.classes import CLASSES
from skinlesions.figures import style

CODE = """
    import sys
    from pathlib import Path
    import matplotlib.pyplot as plt
    from skinlesions.figures import style
    style.use_style()
    figure, axes = plt.subplots()
    axes.plot([0, 1, 2], [3, 1, 2], label="line")
    axes.fill_between([0, 1, 2], [0, 0, 0], [1, 2, 1], hatch="//")
    axes.legend()
    style.save(figure, Path(sys.argv[1]), "figure")
"""


def test_two_processes_write_the_same_bytes(tmp_path):
    for run in ("first", "second"):
        command = [sys.executable, "-c", textwrap.dedent(CODE), tmp_path / run]
        subprocess.run(command, cwd=paths.ROOT, check=True)
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == ["figure.png", "figure.svg"]
    for name in ("figure.png", "figure.svg"):
        first, second = (tmp_path / run / name for run in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    png, svg = ((tmp_path / "first" / f"figure.{kind}").read_bytes() for kind in ("png", "svg"))
    assert png.startswith(b"\x89PNG") and b"<svg" in svg
    for trace in (b"<dc:date>", matplotlib.__version__.encode(), b"Matplotlib v"):
        assert trace not in svg and trace not in png
    assert b">line</text>" in svg  # text stays text


def test_a_saved_figure_is_closed_and_returned(tmp_path):
    style.use_style()
    figure, _ = plt.subplots()
    assert style.save(figure, tmp_path, "empty") is figure
    assert not plt.fignum_exists(figure.number)


def test_a_figure_that_cannot_be_drawn_leaves_the_old_files(tmp_path):
    style.use_style()
    figure, axes = plt.subplots()
    style.save(figure, tmp_path, "figure")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    axes.set_title("$\\broken{$")
    with pytest.raises(ValueError, match="broken"):
        style.save(figure, tmp_path, "figure")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    plt.close(figure)


def test_every_class_has_a_colour_of_its_own():
    assert set(style.CLASS_COLORS) == set(CLASSES)
    assert len({matplotlib.colors.to_rgb(color) for color in style.CLASS_COLORS.values()}) == len(CLASSES)


def test_the_style_needs_no_display():
    style.use_style()
    assert matplotlib.rcParams["svg.hashsalt"] == "skinlesions"
    assert matplotlib.get_backend().lower() == "agg"
