"""One style, and files that are the same bytes whenever and wherever they are drawn."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest
from matplotlib.lines import Line2D
from skimage.color import deltaE_ciede2000, rgb2lab

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


def test_no_other_mark_has_the_colour_of_a_class_or_one_like_it():
    """15 in CIEDE2000 is told apart at a glance; 2 is the least that is seen."""
    lab = {name: rgb2lab(matplotlib.colors.to_rgb(color)) for name, color in style.CLASS_COLORS.items()}
    for number, color in enumerate(style.OTHER_COLORS):
        own = rgb2lab(matplotlib.colors.to_rgb(color))
        assert min(deltaE_ciede2000(own, other) for other in lab.values()) > 15, color
        assert all(deltaE_ciede2000(own, other) > 15 for other in lab.values())
        lab[str(number)] = own


@pytest.mark.parametrize("module", [path.stem for path in sorted(Path(style.__file__).parent.glob("*.py"))])
def test_colours_are_chosen_in_one_place(module):
    """A number of a colour in another module may be that of a class."""
    source = Path(style.__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    known = {color.lower() for color in style.CLASS_COLORS.values()} - {"#000000"}
    assert module == "style" or not known & {color.lower() for color in re.findall(r"#[0-9A-Fa-f]{6}", source)}


def test_ink_is_legible_and_empty_cells_are_white():
    assert [style.ink(color) for color in ("white", "#DDCC77", "black", style.ACCENT)] == ["black"] * 2 + ["white"] * 2
    assert style.CELLS(0.0)[:3] == (1, 1, 1)


def test_a_legend_shows_a_mark_in_every_colour_in_which_it_is_drawn(tmp_path):
    figure, _ = plt.subplots()
    colors = style.OTHER_COLORS[:3]
    style.legend(figure, {"three": [Line2D([], [], color=color) for color in colors], "one": Line2D([], [])})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["three", "one"]
    assert [line.get_color() for line in figure.legends[0].findobj(Line2D)[:3]] == list(colors)


def test_text_in_svg_names_fonts_for_machines_that_lack_the_first(tmp_path):
    figure, axes = plt.subplots()
    axes.set_title("title")
    style.save(figure, tmp_path, "figure")
    families = re.findall(r"font-family: ([^;\"]*)", (tmp_path / "figure.svg").read_text(encoding="utf-8"))
    families += re.findall(r"font: [^;\"]*px ([^;\"]*)", (tmp_path / "figure.svg").read_text(encoding="utf-8"))
    assert set(families) == {"'DejaVu Sans', 'Verdana', 'Arial', sans-serif"}


def test_the_style_needs_no_display():
    style.use_style()
    assert matplotlib.rcParams["svg.hashsalt"] == "skinlesions"
    assert matplotlib.get_backend().lower() == "agg"
