"""Where the text of a drawn figure stands, none over another and none cut off, and whether its files never change."""

import itertools

from skinlesions.figures import style


def boxes(artists, figure):
    """The rectangles of the texts that are seen."""
    renderer = figure.canvas.get_renderer()
    return [artist.get_window_extent(renderer) for artist in artists if artist.get_visible() and artist.get_text()]


def tick_labels(axis):
    """The labels of the ticks of an axis that are in view."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def titles_of(figure):
    """The titles of all panels."""
    return [title for axes in figure.axes for title in (axes.title, axes._left_title)]


def legends_of(figure):
    """The entries of the legends of the figure as a whole."""
    found = figure.legends
    return [text for legend in found for text in (*legend.get_texts(), legend.get_title())]


def assert_apart(artists, figure):
    """No two of the texts overlap."""
    for one, other in itertools.combinations(boxes(artists, figure), 2):
        assert not one.overlaps(other), (one, other)


def assert_inside(artists, figure):
    """None of the texts is cut off at the edge of the figure."""
    for box in boxes(artists, figure):
        assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1, box
        assert figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1, box


def assert_legible(figure):
    """No text of the figure stands over another of its kind, and none is cut off.

    Titles, legends and labels of the whole figure are of one kind; so are the labels of one axis, and what is written
    in one panel with its title.
    """
    figure.canvas.draw()
    panels = [axes for axes in figure.axes if axes.get_visible() and axes.axison]
    around = [*titles_of(figure), *legends_of(figure)]
    around += [text for text in (figure._supxlabel, figure._supylabel) if text]
    assert_apart(around, figure)
    assert_inside(around, figure)
    for axes in panels:
        own = axes.get_legend().get_texts() if axes.get_legend() else []
        # Slanted labels have rectangles that overlap where the words do not.
        ticks = [
            labels
            for labels in map(tick_labels, (axes.xaxis, axes.yaxis))
            if not any(label.get_rotation() % 90 for label in labels)
        ]
        for labels in (*ticks, [*axes.texts, axes.title, axes._left_title]):
            assert_apart(labels, figure)
        every = itertools.chain(tick_labels(axes.xaxis), tick_labels(axes.yaxis))
        assert_inside([*every, *own, *axes.texts, axes.xaxis.label, axes.yaxis.label], figure)


def assert_same_files(draw, folder):
    """What `draw` gives is saved twice in the same bytes."""
    for run in ("first", "second"):
        style.save(draw(), folder / run, "figure")
    for kind in ("png", "svg"):
        first, second = (folder / run / f"figure.{kind}" for run in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
