"""The figures of notebook 01, drawn from the tables of skinlesions.data.exploration."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from skinlesions.core.classes import CLASS_NAMES, CLASSES
from skinlesions.figures.pictures import thumbnail
from skinlesions.figures.style import ACCENT, CELLS, CLASS_COLORS, CONTRAST, LIGHT, MUTED, OTHER_COLORS, ink

SEX_COLORS = {"female": CONTRAST, "male": ACCENT, "unknown": LIGHT}

# From dark (strong evidence) to light (weak): the order survives every colour-vision deficiency, and greyscale.
CONFIRMATION_COLORS = {
    "histo": OTHER_COLORS[0],
    "confocal": OTHER_COLORS[2],
    "follow_up": OTHER_COLORS[1],
    "consensus": OTHER_COLORS[3],
}
CONFIRMATION_NAMES = {
    "histo": "histopathology",
    "confocal": "confocal microscopy",
    "follow_up": "follow-up",
    "consensus": "expert consensus",
}

# The side in pixels of a picture of the mosaic.
THUMBNAIL = 72


def _counted(name: str, count: int) -> str:
    """A label with the number of images behind it."""
    return f"{name} (n = {count:,})"


def class_counts(counts: pd.DataFrame) -> Figure:
    """Images and lesions per class, the largest class on top, with their numbers and shares.

    Args:
        counts: exploration.class_counts.
    """
    counts = counts.drop("all").sort_values("images", kind="stable")
    positions = np.arange(len(counts))
    figure, axes = plt.subplots(figsize=(8, 4.6))
    for offset, column, share, color in (
        (0.2, "images", "image_share", ACCENT),
        (-0.2, "lesions", "lesion_share", MUTED),
    ):
        bars = axes.barh(positions + offset, counts[column], height=0.38, color=color, label=column)
        labels = [f"{count:,} ({part:.1%})" for count, part in zip(counts[column], counts[share], strict=True)]
        axes.bar_label(bars, labels, padding=3, fontsize=8)
    axes.set_yticks(positions, [f"{CLASS_NAMES[name]}\n{name}" for name in counts.index], fontsize=9)
    axes.set_xlim(0, 1.2 * counts["images"].max())
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("count (share of all images or lesions)")
    axes.legend(loc="lower right")
    return figure


def images_per_lesion(sizes: pd.DataFrame, mates: pd.DataFrame) -> Figure:
    """Lesions by number of images, and per class the share of images whose lesion has other images.

    Args:
        sizes: exploration.lesion_sizes.
        mates: exploration.lesion_mates.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    bars = left.bar(sizes.index.astype(str), sizes["lesions"], color=MUTED)
    left.bar_label(bars, [f"{count:,}" for count in sizes["lesions"]], padding=2, fontsize=8)
    left.set_ylim(0, 1.1 * sizes["lesions"].max())
    left.yaxis.set_major_formatter("{x:,.0f}")
    left.set_xlabel("images of the lesion")
    left.set_ylabel("lesions")
    left.set_title(f"{sizes['lesions'].sum():,} lesions", loc="left")

    mates = mates.iloc[::-1]
    bars = right.barh(
        [_counted(name, count) for name, count in mates["images"].items()],
        100 * mates["share"],
        color=[CLASS_COLORS.get(name, MUTED) for name in mates.index],
    )
    right.bar_label(bars, [f"{share:.0%}" for share in mates["share"].fillna(0)], padding=3, fontsize=8)
    right.set_xlim(0, 100)
    right.set_xlabel("images with lesion-mates, %")
    right.set_title("What a split by image could leak", loc="left")
    return figure


def age_by_class(counts: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """One histogram of ages per class, missing ages as a bar of their own, the median marked.

    Args:
        counts: exploration.age_counts in steps of five years.
        summary: exploration.age_summary.
    """
    years = counts.columns.drop("missing").astype(int)
    step = int(years[1] - years[0]) if len(years) > 1 else 5
    gap = years[-1] + 2.5 * step  # where the bar of the missing ages stands
    figure, grid = plt.subplots(2, 4, figsize=(10, 4.6), sharex=True, sharey=True)
    for axes, name in zip(grid.flat, CLASSES, strict=False):
        images = int(counts.loc[name].sum())
        shares = 100 * counts.loc[name] / max(images, 1)
        axes.bar(years, shares.drop("missing"), width=0.85 * step, color=CLASS_COLORS[name])
        axes.bar(gap, shares["missing"], width=0.85 * step, color="white", edgecolor=MUTED, hatch="////")
        if not np.isnan(median := summary.loc[name, "median"]):
            axes.plot(median, 0.97, "v", color="black", transform=axes.get_xaxis_transform())
        axes.set_title(_counted(name, images), loc="left")
    ticks = [year for year in years if year % 20 == 0]
    grid.flat[0].set_xticks([*ticks, gap], [*map(str, ticks), "none"])
    grid.flat[-1].axis("off")
    legend = [
        Line2D([], [], color="black", marker="v", linestyle="none", label="median"),
        Patch(facecolor="white", edgecolor=MUTED, hatch="////", label="age missing"),
    ]
    grid.flat[-1].legend(handles=legend, loc="center left")
    figure.supxlabel("age, years (steps of five)", fontsize=10)
    figure.supylabel("images of the class, %", fontsize=10)
    for axes in grid[0]:
        axes.tick_params(labelbottom=False)
    grid[0, -1].tick_params(labelbottom=True)
    return figure


def _stacked_shares(
    axes: Axes, counts: pd.DataFrame, colors: Mapping[str, str], names: Mapping[str, str] | None = None
) -> None:
    """One bar of 100 % per class, the first class on top; parts of at least 7 % carry their number."""
    counts = counts.iloc[::-1]
    totals = counts.sum(axis=1)
    labels = [_counted(name, total) for name, total in totals.items()]
    left = np.zeros(len(counts))
    for column in counts:
        shares = 100 * (counts[column] / totals.where(totals > 0)).fillna(0).to_numpy()
        axes.barh(labels, shares, left=left, color=colors[column], label=(names or {}).get(column, column), height=0.75)
        for position, share in enumerate(shares):
            if share >= 7:
                middle = left[position] + share / 2
                color = ink(colors[column])
                axes.text(middle, position, f"{share:.0f}", ha="center", va="center", color=color, fontsize=8)
        left += shares
    axes.set_xlim(0, 100)
    axes.set_xlabel("images of the class, %")
    axes.legend(ncols=counts.shape[1], loc="lower left", bbox_to_anchor=(0, 1), fontsize=9, handlelength=1.2)


def sex_by_class(counts: pd.DataFrame) -> Figure:
    """Female, male and unknown per class, as shares.

    Args:
        counts: exploration.sex_counts.
    """
    figure, axes = plt.subplots(figsize=(7, 3.2))
    _stacked_shares(axes, counts, SEX_COLORS)
    return figure


def confirmation_by_class(counts: pd.DataFrame) -> Figure:
    """How the diagnoses of every class were confirmed, as shares.

    Args:
        counts: exploration.confirmation_counts.
    """
    figure, axes = plt.subplots(figsize=(7.5, 3.2))
    _stacked_shares(axes, counts, CONFIRMATION_COLORS, CONFIRMATION_NAMES)
    return figure


def sites_by_class(counts: pd.DataFrame) -> Figure:
    """Where on the body the lesions of every class are: a table of shares in which each row adds up to 100 %.

    Args:
        counts: exploration.counts_by_class of `localization`.
    """
    totals = counts.sum(axis=1)
    shares = 100 * counts.div(totals.where(totals > 0), axis=0).fillna(0)
    figure, axes = plt.subplots(figsize=(9.5, 3.8))
    picture = axes.imshow(shares, cmap=CELLS, vmin=0, aspect="auto")
    for row, column in np.ndindex(shares.shape):
        share = shares.iat[row, column]
        text = "" if share == 0 else "<1" if share < 1 else f"{share:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=ink(picture.to_rgba(share)))
    columns = [f"{name} (n = {count:,})" for name, count in counts.sum().items()]
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(range(len(totals)), [_counted(name, total) for name, total in totals.items()])
    figure.colorbar(picture, ax=axes, label="images of the class, %", pad=0.01)
    return figure


def _boxes(axes: Axes, statistics: pd.DataFrame, dx: pd.Series, name: str) -> None:
    """Box plots of the statistic `name` per class: median, quartiles, and whiskers at the 5th and 95th percentile."""
    values = [statistics.loc[(dx == label).to_numpy(), name] for label in CLASSES]
    axes.boxplot(
        [part if len(part) else [np.nan] for part in values],
        whis=(5, 95),
        showfliers=False,
        widths=0.6,
        patch_artist=True,
        boxprops={"facecolor": "#E4E4E4"},
        medianprops={"color": CONTRAST, "linewidth": 2},
    )
    axes.set_xticks(range(1, len(CLASSES) + 1), CLASSES, fontsize=9)


def color_by_class(statistics: pd.DataFrame, dx: pd.Series) -> Figure:
    """The mean colour of every class as a swatch, and box plots of brightness, contrast and redness of its images.

    Args:
        statistics: exploration.image_statistics.
        dx: the class of every image.
    """
    figure, ((swatches, brightness), (contrast, redness)) = plt.subplots(2, 2, figsize=(9.5, 6))
    means = statistics[["red", "green", "blue"]].groupby(dx.to_numpy()).mean().reindex(list(CLASSES))
    for position, color in enumerate(means.iloc[::-1].to_numpy()):
        if np.isnan(color).any():
            continue
        swatches.barh(position, 1, height=0.95, color=tuple(color / 255))
        text = ", ".join(f"{value:.0f}" for value in color)
        swatches.text(0.5, position, text, ha="center", va="center", color=ink(tuple(color / 255)), fontsize=9)
    labels = [_counted(name, int((dx == name).sum())) for name in reversed(CLASSES)]
    swatches.set_yticks(range(len(CLASSES)), labels)
    swatches.set_xticks([])
    swatches.set_xlim(0, 1)
    for side in ("left", "bottom"):
        swatches.spines[side].set_visible(False)
    swatches.tick_params(axis="y", length=0)
    swatches.set_title("Mean colour (red, green, blue)", loc="left")
    titles = {
        "brightness": (brightness, "mean luma of an image, 0–255"),
        "contrast": (contrast, "standard deviation of luma, 0–255"),
        "redness": (redness, "mean red minus mean green, levels"),
    }
    for name, (axes, label) in titles.items():
        _boxes(axes, statistics, dx, name)
        axes.set_title(name.capitalize(), loc="left")
        axes.set_ylabel(label)
    return figure


def redness_by_confirmation(statistics: pd.DataFrame, index: pd.DataFrame) -> Figure:
    """The redness of nevi by how they were confirmed, and of melanomas, as outlines of histograms.

    Args:
        statistics: exploration.image_statistics.
        index: the index of the prepared images.
    """
    groups = {
        f"nv by {CONFIRMATION_NAMES[way]}": (
            index["dx"].eq("nv") & index["dx_type"].eq(way),
            CONFIRMATION_COLORS[way],
            line,
        )
        for way, line in (("follow_up", "-"), ("histo", "-"), ("consensus", "--"))
    }
    groups["melanoma"] = (index["dx"].eq("mel"), CLASS_COLORS["mel"], "-")
    low, high = np.floor(statistics["redness"].min() / 5) * 5, np.ceil(statistics["redness"].max() / 5) * 5 + 5
    edges = np.arange(low, high + 1, 5)
    figure, axes = plt.subplots(figsize=(7.5, 3.6))
    for name, (member, color, line) in groups.items():
        values = statistics.loc[member.to_numpy(), "redness"]
        if values.empty:
            continue
        axes.hist(
            values,
            edges,
            weights=np.full(len(values), 100 / len(values)),
            histtype="step",
            color=color,
            linestyle=line,
            linewidth=1.8,
            label=_counted(name, len(values)),
        )
    axes.set_xlabel("redness of an image: mean red minus mean green, levels of 0–255 (bins of 5)")
    axes.set_ylabel("images of the group, %")
    axes.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1), fontsize=9)
    return figure


def mosaic(images: np.ndarray, positions: Mapping[str, Sequence[int]]) -> Figure:
    """One row of pictures per class.

    Args:
        images: uint8 [N, S, S, 3], may be memory-mapped: only the rows shown are read.
        positions: exploration.mosaic_positions.
    """
    columns = max(1, *(len(rows) for rows in positions.values()))
    pitch = THUMBNAIL + 2
    canvas = np.full((pitch * len(positions) - 2, pitch * columns - 2, 3), 255, dtype=np.uint8)
    for number, rows in enumerate(positions.values()):
        for column, row in enumerate(rows):
            top, left = number * pitch, column * pitch
            canvas[top : top + THUMBNAIL, left : left + THUMBNAIL] = thumbnail(images[row], THUMBNAIL)
    figure, axes = plt.subplots(figsize=(0.6 + canvas.shape[1] / 90, canvas.shape[0] / 90))
    axes.imshow(canvas, interpolation="none")
    axes.set_yticks(pitch * np.arange(len(positions)) + THUMBNAIL / 2, list(positions))
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure
