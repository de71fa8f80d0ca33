"""The figures of notebook 06, from ordinary, small and extreme data."""

import itertools

import numpy as np
import pandas as pd
import pytest

from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import leakage
from skinlesions.figures import leakage as draw
from tests.helpers.drawn_text import assert_legible, assert_same_files


def doses(scores: dict[str, float], gain: float, parts=leakage.PARTS) -> pd.DataFrame:
    rows = [
        (head, part, dose, 1000, score + gain * dose, score + gain * dose - 0.03, score + gain * dose + 0.03)
        for (head, score), part, dose in itertools.product(scores.items(), parts, leakage.DOSES)
    ]
    return pd.DataFrame(rows, columns=["head", "part", "dose", "images", "balanced_accuracy", "low", "high"])


def changes(gain: float, metrics=leakage.METRICS) -> pd.DataFrame:
    rows = [
        (head, part, metric, 40, 0.5, 0.5 + gain, gain, gain - 0.05, gain + 0.05)
        for head, part, metric in itertools.product(leakage.HEADS, leakage.PARTS, metrics)
    ]
    return pd.DataFrame(
        rows, columns=["head", "part", "metric", "images", "clean", "injected", "change", "low", "high"]
    )


def original_scores(clean: float, injected: float, parts=("exposed", "unexposed", "all")) -> pd.DataFrame:
    rows = [
        (head, part, "balanced_accuracy", 475, injected, clean, injected, injected - clean, -0.1, 0.1)
        for head, part in itertools.product(leakage.HEADS, parts)
    ]
    columns = ["head", "part", "metric", "images", "published", "clean", "injected", "change", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def shared(share: float) -> pd.DataFrame:
    rows = [(name, 1000, int(1000 * share), share) for name in (*CLASSES, "all")]
    return pd.DataFrame(rows, columns=["dx", "images", "shared", "share"])


def chosen(folds: int, epochs: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    curves = pd.DataFrame(itertools.product(range(folds), range(1, epochs + 1)), columns=["fold", "epoch"])
    curves["validation"] = curves["test"] = 0.5 + 0.2 * curves["epoch"] / epochs
    rows = [(str(fold), 100, 1, epochs, 0.5, 0.7, 0.2) for fold in range(folds)] + [("all", 300, "", "", 0.5, 0.7, 0.2)]
    columns = ["fold", "images", "validation_epoch", "test_epoch", "by_validation", "by_test", "change"]
    return curves, pd.DataFrame(rows, columns=columns)


APART = dict(zip(leakage.HEADS, (0.7, 0.6, 0.4), strict=True))
TOGETHER = dict.fromkeys(leakage.HEADS, 0.5)
FIGURES = {
    "doses": lambda: draw.doses(doses(APART, 0.2), 0.95),
    "doses of equal heads": lambda: draw.doses(doses(TOGETHER, 0.0), 0.9),
    "doses that are perfect": lambda: draw.doses(doses(dict.fromkeys(leakage.HEADS, 0.97), 0.03), 0.95),
    "doses without a control": lambda: draw.doses(doses(APART, 0.2, parts=["exposed", "all"]), 0.95),
    "changes": lambda: draw.changes(changes(0.1), 0.95),
    "changes for the worse": lambda: draw.changes(changes(-0.4), 0.95),
    "changes of two classes": lambda: draw.changes(changes(0.0, ["balanced_accuracy", "recall_nv"]), 0.95),
    "original": lambda: draw.original(shared(0.4), original_scores(0.5, 0.7)),
    "original, all shared": lambda: draw.original(shared(1.0), original_scores(0.99, 1.0)),
    "original, none shared": lambda: draw.original(shared(0.0), original_scores(0.7, 0.5, parts=["unexposed", "all"])),
    "selection": lambda: draw.selection(*chosen(5, 30)),
    "selection of one epoch": lambda: draw.selection(*chosen(3, 1)),
    "pairs": lambda: draw.pairs(*np.zeros((2, 7, 8, 8, 3), dtype="uint8"), list(CLASSES)),
    "one pair": lambda: draw.pairs(*np.zeros((2, 1, 8, 8, 3), dtype="uint8"), ["nv"]),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_legible_and_always_the_same(name, tmp_path):
    assert_legible(FIGURES[name]())
    assert_same_files(FIGURES[name], tmp_path)


def test_lines_show_the_table():
    left = draw.doses(doses(APART, 0.2), 0.95).axes[0]
    ends = sorted(line.get_ydata()[-1] for line in left.lines)
    assert ends == pytest.approx(sorted(score + 0.2 for score in APART.values()))
    assert {text.get_text() for text in left.texts} == {"0.70", "0.60", "0.40", "0.90", "0.80"}


def test_spread_keeps_order_distance_and_the_middle():
    values = np.array([0.5, 0.9, 0.52, 0.5])
    moved = draw.spread(values, 0.05)
    assert (np.diff(moved[[0, 3, 2, 1]]) > 0.05 - 1e-6).all()
    assert moved[1] == 0.9
    assert moved.mean() == pytest.approx(values.mean())
