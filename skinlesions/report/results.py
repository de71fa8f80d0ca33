"""The result table as readers see it, on the first page and in the README."""

from pathlib import Path

import pandas as pd

from skinlesions.core.errors import UserError
from skinlesions.core.formatting import estimates, number, percent, plain
from skinlesions.core.names import ALWAYS_NV, DESCRIBED, ENSEMBLE, STACKED, display_name
from skinlesions.core.paths import relative

# The figure and tables of notebook 04 on which the report opens.
FIGURE = "forest"
COMPARISON = "comparison.csv"
CLASSES = "classes.csv"

_METRICS = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "macro_auc": "Macro AUC"}
_SHORT = {"frozen features": "frozen", "ImageNet": "ImageNet", "random": "random weights", "embedding": "embedding"}


def read(folder: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """The table `name` of the comparison, from data/compare/tables or reports/tables/compare.

    Raises:
        UserError: the file is absent or lacks one of `columns`.
    """
    path = folder / name
    try:
        table = pd.read_csv(path, dtype={"model": str})
    except (OSError, ValueError) as error:
        raise UserError(f"{relative(path)} cannot be read: {error}. `dvc repro` makes it.") from None
    if missing := [column for column in columns if column not in table.columns]:
        raise UserError(f"{relative(path)} has no column {missing[0]!r}; `dvc repro --force compare` makes it anew")
    return table


def headline(folder: Path, confidence: float) -> pd.DataFrame:
    """The main comparison as text: a row per model, best first, the headers as column names.

    Args:
        folder: with the tables of notebook 04.
        confidence: of the intervals in them, for the header.

    Raises:
        UserError: a table is absent or lacks a column.
    """
    balanced = ("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high")
    comparison = read(folder, COMPARISON, ("model", *DESCRIBED, *balanced, *_METRICS))
    recalls = read(folder, CLASSES, ("model", "dx", "recall"))
    melanoma = recalls[recalls["dx"] == "mel"].set_index("model")["recall"].to_dict() | {ALWAYS_NV: 0.0}
    return pd.DataFrame(
        {
            "Model": [display_name(name) for name in comparison["model"]],
            "Training": [
                ", ".join(text for text in (_SHORT.get(training, training), _SHORT.get(initialisation)) if text)
                for training, initialisation in comparison[list(DESCRIBED)].itertuples(index=False)
            ],
            f"Balanced accuracy ({plain(percent(confidence))} interval)": [
                plain(text) for text in estimates(comparison, "balanced_accuracy")
            ],
        }
        | {title: [number(value) for value in comparison[metric]] for metric, title in _METRICS.items()}
        | {"Melanoma recall": [number(melanoma.get(name)) for name in comparison["model"]]}
    )


def best(folder: Path) -> str:
    """The single model with the best balanced accuracy."""
    comparison = read(folder, COMPARISON, ("model", "balanced_accuracy"))
    single = comparison[~comparison["model"].isin([ENSEMBLE, STACKED, ALWAYS_NV])]
    return str(single.sort_values("balanced_accuracy", ascending=False, kind="stable")["model"].iloc[0])
