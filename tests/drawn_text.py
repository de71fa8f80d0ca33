"""Where the text of a drawn figure stands."""


def boxes(artists, figure):
    """The rectangles of the texts that are seen."""
    renderer = figure.canvas.get_renderer()
    return [artist.get_window_extent(renderer) for artist in artists if artist.get_visible() and artist.get_text()]


def tick_labels(axes):
    """The labels of the ticks in view."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        yield [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
