"""The figures of notebook 02, from ordinary, small and extreme data."""

import numpy as np
import pandas as pd
import pytest

from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import metrics
from skinlesions.figures import balancing as draw
from tests.helpers.drawn_text import assert_legible, assert_same_files


def fold_counts(folds: int, images: int = 30) -> pd.DataFrame:
    return pd.DataFrame({"fold": range(folds)} | {name: [images + fold for fold in range(folds)] for name in CLASSES})


def summary(strategies: list[str], **changed: float) -> pd.DataFrame:
    scores = dict.fromkeys(metrics.METRICS, 0.5) | {"low": 0.4, "high": 0.6, "validation_balanced_accuracy": 0.55}
    rows = [
        {"strategy": name} | scores | {"balanced_accuracy": 0.5 + number / 100} | changed
        for number, name in enumerate(strategies)
    ]
    return pd.DataFrame(rows)


def pictures(images: int, draws: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    originals = random.integers(0, 256, (images, 12, 12, 3), dtype="uint8")
    stacks = {name: random.uniform(-20, 300, (draws, images, 12, 12, 3)) for name in ("dihedral", "original")}
    return originals, stacks


STRATEGIES = ["none", "balanced_weights", "effective_number_weights", "undersample_nv", "focal_loss"]

FIGURES = {
    "folds": lambda: draw.folds(fold_counts(5)),
    "twenty folds": lambda: draw.folds(fold_counts(20)),
    "tiny folds": lambda: draw.folds(fold_counts(3, images=1)),
    "strategies": lambda: draw.strategies(summary(STRATEGIES), "undersample_nv"),
    "one strategy": lambda: draw.strategies(summary(["none"]), "none"),
    "no spread": lambda: draw.strategies(summary(STRATEGIES, low=0.7, high=0.7, balanced_accuracy=0.7), "none"),
    "a perfect score": lambda: draw.strategies(
        summary(STRATEGIES, balanced_accuracy=1.0, high=1.0, recall_mel=1.0, recall_df=0.0), "none"
    ),
    "a class without images": lambda: draw.strategies(summary(STRATEGIES, recall_df=float("nan")), "none"),
    "augmentations": lambda: draw.augmentations(*pictures(3, 3)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_legible_and_always_the_same(name, tmp_path):
    assert_legible(FIGURES[name]())
    assert_same_files(FIGURES[name], tmp_path)


def test_the_augmentations_of_a_single_image():
    draw.augmentations(*pictures(1, 2))


def test_bars_are_the_shares_of_each_class():
    counts = fold_counts(4)
    counts["df"] = [10, 20, 30, 40]
    panels = draw.folds(counts).axes
    heights = [bar.get_height() for bar in panels[CLASSES.index("df")].patches]
    assert heights == pytest.approx([10, 20, 30, 40])
    assert panels[CLASSES.index("df")].get_title() == "df (n = 100)"


def test_the_chosen_strategy_is_bold_and_beside_its_own_values():
    table = summary(STRATEGIES)
    left, right = draw.strategies(table, "undersample_nv").axes[:2]
    labels = {label.get_text(): label for label in left.get_yticklabels()}
    assert list(labels) == [name.replace("_", " ") for name in STRATEGIES]
    assert [name for name, label in labels.items() if label.get_fontweight() == "bold"] == ["undersample nv"]
    points, *_ = left.containers[0]  # the estimates with their intervals
    shown = dict(zip(points.get_ydata(), points.get_xdata(), strict=True))
    for label, value in zip(left.get_yticks(), table["balanced_accuracy"], strict=True):
        assert shown[label] == pytest.approx(value)
    assert len(right.texts) == len(STRATEGIES) * len(CLASSES)


def test_recalls_are_in_the_row_of_their_strategy_and_the_column_of_their_class():
    table = summary(STRATEGIES)
    for row in range(len(STRATEGIES)):
        for column, name in enumerate(CLASSES):
            table.loc[row, f"recall_{name}"] = (10 * row + column) / 100
    left, right = draw.strategies(table, "none").axes[:2]
    rows = dict(zip([label.get_text().replace(" ", "_") for label in left.get_yticklabels()], left.get_yticks(),
                    strict=True))  # fmt: skip
    columns = dict(zip([label.get_text() for label in right.get_xticklabels()], right.get_xticks(), strict=True))
    shown = {tuple(text.get_position()): text.get_text() for text in right.texts}
    for row, strategy in enumerate(STRATEGIES):
        for column, name in enumerate(CLASSES):
            assert shown[columns[name], rows[strategy]] == f"{10 * row + column}"


def test_each_draw_stands_beside_its_image():
    originals = np.stack([np.full((12, 12, 3), level, "uint8") for level in (50, 100)])
    stacks = {"dihedral": np.stack([originals + 1.0, originals + 2.0]), "original": np.stack([originals + 999.0])}
    panels = draw.augmentations(originals, stacks).axes
    levels = np.array([axes.images[0].get_array()[0, 0, 0] for axes in panels]).reshape(2, 4)
    assert levels.tolist() == [[50, 51, 52, 255], [100, 101, 102, 255]]
    assert [axes.get_title() for axes in panels[:4]] == ["the image", "dihedral 1", "dihedral 2", "original 1"]
