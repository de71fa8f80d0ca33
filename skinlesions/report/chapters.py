"""What the report consists of, in the order in which it is read."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Chapter:
    """One executed notebook with its figures and tables.

    Attributes:
        folder: of the stage under data/, and of its figures and tables in the report; such as `train/resnet50`.
        source: the name of its notebook there, without suffix.
        page: the name of its notebook in the report, without suffix.
    """

    folder: str
    source: str
    page: str


def chapters(models: Iterable[str]) -> list[Chapter]:
    """What the report consists of, in the order in which it is read."""
    return [
        Chapter("explore", "01_explore", "01_explore"),
        Chapter("balance", "02_balance", "02_balance"),
        *(Chapter(f"train/{model}", "03_train", f"03_train_{model}") for model in models),
        Chapter("compare", "04_compare", "04_compare"),
        Chapter("explain", "05_explain", "05_explain"),
        Chapter("leakage", "06_leakage", "06_leakage"),
        Chapter("external", "07_external", "07_external"),
    ]
