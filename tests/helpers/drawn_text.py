"""Where the text of a drawn figure stands: none over another, none cut off."""

import itertools


def boxes(artists, figure):
    """The rectangles of the texts that are seen."""
    renderer = figure.canvas.get_renderer()
    return [artist.get_window_extent(renderer) for artist in artists if artist.get_visible() and artist.get_text()]


def tick_labels(axes):
    """The labels of the ticks in view."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        yield [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def titles_of(figure):
    """The titles of all panels."""
    return [title for axes in figure.axes for title in (axes.title, axes._left_title)]


def legends_of(figure):
    """The entries of the legends of the figure as a whole."""
    return [text for legend in figure.legends for text in legend.get_texts()]


def assert_apart(artists, figure, name):
    """No two of the texts overlap."""
    for one, other in itertools.combinations(boxes(artists, figure), 2):
        assert not one.overlaps(other), name


def assert_inside(artists, figure, name):
    """None of the texts is cut off at the edge of the figure."""
    for box in boxes(artists, figure):
        assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1, name
        assert figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1, name
