"""The figures about groups of images: scores by sex, age, localization and confirmation, and the nevi apart."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinlesions.core.formatting import estimate
from skinlesions.core.names import ALL, ATTRIBUTE_NAMES, MINIMUM_LESIONS
from skinlesions.core.names import GROUP_METRIC_NAMES as METRIC_NAMES
from skinlesions.figures.style import ACCENT, CONTRAST, MUTED, gridlines, whiskers

SHOWN = ("balanced_accuracy", "recall_mel", "sensitivity", "specificity")


def scores(table: pd.DataFrame, metrics: tuple[str, ...] = SHOWN) -> Figure:
    """Every group's scores with intervals, a panel per metric, a row per group; small groups are hollow and grey.

    The score over all images is a line.

    Args:
        table: subgroups.tables(...)["group_scores"].
        metrics: which are shown; one without a score is an empty panel.
    """
    overall = table[table["attribute"] == ALL].set_index("metric")["value"]
    table = table[table["attribute"] != ALL]
    keys = list(dict.fromkeys(zip(table["attribute"], table["group"], strict=True)))
    # A gap before every attribute, which is named there.
    attributes = list(dict.fromkeys(attribute for attribute, _ in keys))
    rows = {key: -number - 1.3 * (attributes.index(key[0]) + 1) for number, key in enumerate(keys)}
    figure, panels = plt.subplots(
        1, len(metrics), figsize=(2.6 + 2.3 * len(metrics), 1.6 + 0.25 * (len(keys) + len(attributes))), sharey=True
    )
    for axes, metric in zip(np.atleast_1d(panels), metrics, strict=True):
        own = table[table["metric"] == metric]
        axes.axvline(overall.get(metric, np.nan), color=CONTRAST, lw=1, ls="--")
        for is_small, style in (("no", {"color": ACCENT}), ("yes", {"color": MUTED, "mfc": "white"})):
            part = own[own["small"] == is_small]
            positions = [rows[key] for key in zip(part["attribute"], part["group"], strict=True)]
            reach = whiskers(part, "value", ends="")
            axes.errorbar(part["value"], positions, xerr=reach, fmt="o", ms=5, lw=1.5, **style)
        axes.set_title(METRIC_NAMES[metric].replace(" to ", " to\n").replace(" on ", " on\n"), fontsize=10)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        gridlines(axes, "x")
        axes.tick_params(axis="y", length=0)
    first = np.atleast_1d(panels)[0]
    heads = {attribute: 1 + max(row for key, row in rows.items() if key[0] == attribute) for attribute in attributes}
    first.set_yticks(
        [*rows.values(), *heads.values()],
        [group.replace("_", "-") for _, group in rows] + [""] * len(heads),
        fontsize=9,
    )
    for attribute, row in heads.items():
        first.annotate(
            ATTRIBUTE_NAMES[attribute],
            (0, row),
            (-6, 0),
            xycoords=first.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            va="center",
            fontweight="bold",
            fontsize=9,
        )
    first.set_ylim(min(rows.values()) - 0.7, max(heads.values()) + 0.6)
    legend = [
        Line2D([], [], color=ACCENT, marker="o", ms=5, lw=1.5, label="one group, with interval"),
        Line2D(
            [],
            [],
            color=MUTED,
            marker="o",
            mfc="white",
            ms=5,
            lw=1.5,
            label=f"fewer than {MINIMUM_LESIONS} lesions of a kind",
        ),
        Line2D([], [], color=CONTRAST, lw=1, ls="--", label="all images"),
    ]
    figure.legend(handles=legend, loc="outside upper center", ncols=3, fontsize=9)
    return figure


def nevi(table: pd.DataFrame) -> Figure:
    """How often nevi are recognised, by how they were confirmed.

    Args:
        table: subgroups.tables(...)["nevi"].
    """
    own = table[~table["dx_type"].str.contains(" less ")]
    positions = -np.arange(len(own))
    figure, panels = plt.subplots(1, 2, figsize=(9, 1.5 + 0.4 * max(1, len(own))), sharey=True)
    for axes, metric, title in zip(
        panels, ("recall", "specificity"), ("called nv", "not called malignant"), strict=True
    ):
        reach = whiskers(own, metric)
        axes.errorbar(own[metric].astype(float), positions, xerr=reach, fmt="o", color=ACCENT, ms=6, lw=2)
        for position, row in zip(positions, own.to_dict("records"), strict=True):
            side = "right" if row[metric] > 0.5 else "left"
            place = {"xytext": (0, 6), "textcoords": "offset points", "ha": side, "va": "bottom", "fontsize": 9}
            axes.annotate(estimate(row, metric, unit="%"), (row[metric], position), **place)
        axes.set_title(f"share of the nevi {title}", fontsize=10)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
        gridlines(axes, "x")
        axes.tick_params(axis="y", length=0)
    labels = [f"{row.dx_type.replace('_', '-')} (n = {row.images:,})" for row in own.itertuples()]
    panels[0].set_yticks(positions, labels)
    panels[0].set_ylim(-len(own) + 0.5, 0.8)
    return figure
