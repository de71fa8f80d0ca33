"""The figures of notebook 05: heat maps of cases, filters, feature maps, and the randomisation check."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from PIL import Image

from skinlesions.explain.sanity_check import Sanity
from skinlesions.explain.similarity import MEASURES
from skinlesions.figures.pictures import coarse, thumbnail
from skinlesions.figures.style import ACCENT, CONTRAST, MUTED

# The side of a picture in pixels, and the gaps around it.
THUMBNAIL = 108
GAP = 6
CAPTION = 18
PIXELS_PER_INCH = 82

# The upper part of a sequential map whose order survives every colour-vision deficiency and greyscale: its dark end
# would read as a dark lesion.
HEAT = LinearSegmentedColormap.from_list("heat", plt.get_cmap("inferno")(np.linspace(0.3, 0.98, 256)))
OPACITY = 0.75
GRID = 12  # small pictures per row in the figures of filters and feature maps

MEASURE_NAMES = {"spearman": "Spearman's rank correlation", "ssim": "structural similarity (SSIM)"}


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A small grey picture of `image` with its heat in colour, the more opaque the hotter.

    Args:
        image: uint8 [P, P, 3].
        heat: float [P, P], 0 to 1, NaN where the network does not look: there the picture is pale.

    Returns:
        uint8 [THUMBNAIL, THUMBNAIL, 3].
    """
    size = (THUMBNAIL, THUMBNAIL)
    small = Image.fromarray(np.asarray(image)).convert("L").resize(size, Image.Resampling.BOX)
    grey = np.asarray(small, "float64")[..., None].repeat(3, axis=2)
    unseen = np.asarray(Image.fromarray(np.isnan(heat)).resize(size, Image.Resampling.NEAREST))
    warm = Image.fromarray(np.nan_to_num(heat).astype("float32")).resize(size, Image.Resampling.BILINEAR)
    mixed = _mixed(grey, np.clip(np.asarray(warm, "float64"), 0, 1))
    mixed[unseen] = 0.35 * grey[unseen] + 0.65 * 255
    return coarse(mixed)


def _mixed(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Grey pixels (0–255) [..., 3] under the colour of their heat (0–1) [...]."""
    opacity = OPACITY * heat[..., None] ** 0.75
    return (1 - opacity) * grey + opacity * 255 * HEAT(heat)[..., :3]


def _canvas(rows: int, headings: Sequence[str]) -> tuple[np.ndarray, Figure, Axes]:
    """A white canvas for rows of thumbnails under their headings, and the figure and axes that will show it."""
    height, width = rows * (THUMBNAIL + GAP + CAPTION), len(headings) * (THUMBNAIL + GAP) - GAP
    lines = 1 + max(heading.count("\n") for heading in headings)
    size = (1.35 + width / PIXELS_PER_INCH, 0.3 + 0.14 * lines + height / PIXELS_PER_INCH)
    figure, axes = plt.subplots(figsize=size)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return np.full((height, width, 3), 255, "uint8"), figure, axes


def _corner(row: int, column: int) -> tuple[int, int]:
    """The top and the left pixel of a thumbnail on the canvas; its caption is above it."""
    return row * (THUMBNAIL + GAP + CAPTION) + CAPTION, column * (THUMBNAIL + GAP)


def _place(canvas: np.ndarray, row: int, column: int, picture: np.ndarray) -> None:
    """Put a thumbnail on the canvas."""
    top, left = _corner(row, column)
    canvas[top : top + THUMBNAIL, left : left + THUMBNAIL] = picture


def _caption(axes: Axes, row: int, column: int, text: str, color: str = "black") -> None:
    """Write `text` above a thumbnail."""
    top, left = _corner(row, column)
    axes.text(left + THUMBNAIL / 2, top - 3, text, ha="center", va="bottom", fontsize=8, color=color)


def _label(axes: Axes, canvas: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Show the canvas, with the names of its rows at the left and of its columns on top."""
    axes.imshow(canvas, interpolation="none")
    middles = [_corner(row, 0)[0] + THUMBNAIL / 2 for row in range(len(rows))]
    axes.set_yticks(middles, rows, fontsize=9)
    axes.set_xticks([_corner(0, column)[1] + THUMBNAIL / 2 for column in range(len(columns))], columns, fontsize=8)
    axes.xaxis.tick_top()
    axes.set_anchor("S")  # what height the layout leaves over is for the headings


def _wrapped(name: str, width: int = 15) -> str:
    """The name of a model on at most a few lines, broken after underscores."""
    lines = [""]
    for part in name.split("_"):
        joined = f"{lines[-1]}_{part}" if lines[-1] else part
        if len(joined) > width:
            lines[-1] += "_"
            lines.append(part)
        else:
            lines[-1] = joined
    return "\n".join(lines)


def _heat_bar(figure: Figure, axes: Axes) -> None:
    """What the colours mean."""
    steps = np.linspace(0, 1, 256)
    colors = ListedColormap(_mixed(np.full((256, 3), 0.6 * 255), steps) / 255)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), colors), ax=axes, shrink=0.35, aspect=30, pad=0.01, panchor=False
    )
    bar.set_label("heat, as a share of the\nhottest point of its map", fontsize=9)
    bar.ax.tick_params(labelsize=8)


def cases(
    shown: pd.DataFrame,
    answered: pd.DataFrame,
    pictures: np.ndarray,
    frames: Mapping[str, np.ndarray],
    other_frames: np.ndarray,
    reference: str,
    origins: Mapping[str, str],
) -> Figure:
    """One row per class: the picture, the heat of each model's own answer, and that of the reference's other class.

    Args:
        shown: the rows of cases.choose_cases of one case; their index says where they are in the arrays.
        answered: cases.answers_to_cases.
        pictures: uint8 [n, P, P, 3], of all cases.
        frames: by model, gradcam.in_frame of all cases, for the class that the model answers.
        other_frames: the same of the reference, for the class in the column `other`.
        reference: the model that chose the cases.
        origins: by model, cases.origin: how it was trained and from which weights.
    """
    models = list(frames)
    own = ["\n".join([_wrapped(model), *origins[model].split(", ")]) for model in models]
    headings = ["image", *own, f"{_wrapped(reference)}\nfor another class"]
    canvas, figure, axes = _canvas(max(len(shown), 1), headings)
    if shown.empty:
        axes.text(0.5, 0.3, "there is no such case", ha="center", transform=axes.transAxes)
    cells = answered.set_index(["image_id", "case", "model"])
    for row, (position, case) in enumerate(shown.iterrows()):
        _place(canvas, row, 0, thumbnail(pictures[position], THUMBNAIL))
        _caption(axes, row, 0, case["image_id"], MUTED)
        for column, model in enumerate(models, start=1):
            heat = frames[model][position]
            answer = cells.loc[(case["image_id"], case["case"], model)]
            is_right = answer["predicted"] == case["dx"]
            text = f"{'✓' if is_right else '✗'} {answer['predicted']} {answer['probability']:.2f}"
            _place(canvas, row, column, overlay(pictures[position], heat))
            _caption(axes, row, column, text + _remark(heat), ACCENT if is_right else CONTRAST)
        heat = other_frames[position]
        _place(canvas, row, len(models) + 1, overlay(pictures[position], heat))
        _caption(axes, row, len(models) + 1, f"for {case['other']}" + _remark(heat))
    _label(axes, canvas, list(shown["dx"]), headings)
    _heat_bar(figure, axes)
    return figure


def _remark(heat: np.ndarray) -> str:
    """What to add to the caption of a map without any shape: zero, or the same, everywhere."""
    highest = np.nanmax(heat, initial=0)
    if highest == 0:
        return ", no heat"
    return ", even" if np.nanmin(heat) == highest else ""


def cascade(pictures: np.ndarray, frames: np.ndarray, reached: Sequence[str], columns: int = 8) -> Figure:
    """One row per image: the picture, its map, and what becomes of the map as layers lose what they learned.

    Args:
        pictures: uint8 [n, P, P, 3].
        frames: float [steps, n, P, P], gradcam.in_frame at each step.
        reached: the layer that each step has reached; empty for the trained network.
        columns: how many steps are shown, spread evenly from the first to the last.
    """
    steps = np.unique(np.linspace(0, len(frames) - 1, min(columns, len(frames))).round().astype(int))
    headings = ["image", *(_wrapped(reached[step]) if reached[step] else "trained" for step in steps)]
    canvas, figure, axes = _canvas(len(pictures), headings)
    for row, picture in enumerate(pictures):
        _place(canvas, row, 0, thumbnail(picture, THUMBNAIL))
        for column, step in enumerate(steps, start=1):
            _place(canvas, row, column, overlay(picture, frames[step, row]))
            _caption(axes, row, column, _remark(frames[step, row]).removeprefix(", "), MUTED)
    _label(axes, canvas, [""] * len(pictures), headings)
    return figure


def sanity(checked: Sanity) -> Figure:
    """The similarity of the maps with the original ones while the network is randomised, beside that of other images.

    Args:
        checked: sanity_check.sanity.
    """
    curve = checked.curve
    figure, grid = plt.subplots(1, len(MEASURES), figsize=(10, 4), sharex=True)
    for axes, name in zip(grid, MEASURES, strict=True):
        axes.fill_between(curve["step"], curve[f"{name}_low"], curve[f"{name}_high"], color=ACCENT, alpha=0.2, lw=0)
        axes.plot(curve["step"], curve[name], color=ACCENT, marker="o", markersize=4, label="mean; band: quartiles")
        axes.axhline(checked.other_images[name], color=CONTRAST, linestyle="--", label="map of another image")
        axes.set_title(MEASURE_NAMES[name], loc="left")
        axes.set_xticks(
            curve["step"], ["trained", *curve["reached"][1:]], rotation=60, ha="right", rotation_mode="anchor"
        )
        axes.tick_params(axis="x", labelsize=8)
        axes.axhline(0, color=MUTED, linewidth=0.6)
        axes.set_ylabel("similarity with the original map")
        axes.set_ylim(min(-0.5, curve[f"{name}_low"].min() - 0.05), 1.05)
    grid[0].legend(loc="upper right")
    figure.supxlabel("random from the logits down to", fontsize=10)
    return figure


def _tiles(axes: Axes, tiles: Sequence[np.ndarray], columns: int, **shown: object) -> None:
    """Small pictures in rows, with a gap of one pixel, or a twelfth of their side."""
    height, width = tiles[0].shape[:2]
    gap = max(1, height // 12)
    rows = -(-len(tiles) // columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    canvas = np.full((*shape, *tiles[0].shape[2:]), np.nan if tiles[0].ndim == 2 else 1.0)
    for position, tile in enumerate(tiles):
        top, left = position // columns * (height + gap), position % columns * (width + gap)
        canvas[top : top + height, left : left + width] = tile
    axes.imshow(canvas, interpolation="none", **shown)
    axes.axis("off")


def filters(name: str, kernels: np.ndarray, limit: int = 64) -> Figure:
    """The filters of the convolution that reads the image, as small pictures in colour.

    Each is scaled by its own largest weight, so that mid-grey is a weight of zero, and a colour is what it looks for.

    Args:
        name: of the layer.
        kernels: float [height, width, 3, filters].
        limit: at most so many are shown.
    """
    count = min(kernels.shape[-1], limit)
    tiles = []
    for position in range(count):
        kernel = kernels[..., position]
        largest = np.abs(kernel).max()
        tiles.append(0.5 + kernel / (2 * largest) if largest > 0 else np.full(kernel.shape, 0.5))
    columns = min(2 * GRID, count) if count <= 2 * GRID else 16
    figure, axes = plt.subplots(figsize=(8, 0.6 + 8 * -(-count // columns) / columns))
    _tiles(axes, tiles, columns)
    height, width, channels, total = kernels.shape
    part = "all" if count == total else f"the first {count} of"
    axes.set_title(f"{name}: {part} {total} filters of {height} × {width} × {channels} weights", loc="left")
    return figure


def feature_maps(picture: np.ndarray, maps: Mapping[str, np.ndarray], channels: Mapping[str, np.ndarray]) -> Figure:
    """What layers make of one picture: a row of maps per layer, from early to late.

    Each map is scaled from its least to its greatest value, as filters have no common unit.

    Args:
        picture: uint8 [S, S, 3], what the network reads.
        maps: float [h, w, C] by the name of the layer.
        channels: the positions of the maps to show, by the name of the layer.
    """
    figure, grid = plt.subplots(len(maps) + 1, 1, figsize=(9, 1.3 * (len(maps) + 1)))
    grid[0].imshow(picture, interpolation="none")
    grid[0].set_title(f"what the network reads: {' × '.join(map(str, picture.shape))}", loc="left", fontsize=9)
    grid[0].axis("off")
    grid[0].set_anchor("W")
    for axes, (name, values) in zip(grid[1:], maps.items(), strict=True):
        shown = [values[..., position] for position in channels[name]]
        ranges = [max(float(np.ptp(part)), 1e-12) for part in shown]
        tiles = [(part - part.min()) / extent for part, extent in zip(shown, ranges, strict=True)]
        _tiles(axes, tiles, GRID, cmap="cividis", vmin=0, vmax=1)
        axes.set_anchor("W")
        shape = " × ".join(map(str, values.shape))
        axes.set_title(f"{name}: {shape}; {len(shown)} of {values.shape[-1]} maps", loc="left", fontsize=9)
    return figure
