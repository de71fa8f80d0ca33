"""What notebook 05 found, in words."""

import numpy as np
import pandas as pd

from skinlesions.explain.cases import CASES, WRONG
from skinlesions.explain.gradcam import CENTRAL_CELLS
from skinlesions.explain.sanity_check import Sanity

# The mean rank correlation from which on maps of different pictures are called much the same.
ALIKE = 0.5


def centre_in_words(models: pd.DataFrame, cases: pd.DataFrame, reference: str) -> str:
    """How much of the heat is in the middle, in words, and which models cannot say.

    Args:
        models: `by_model`.
        cases: `measured`.
        reference: the model of which the kinds of case are told apart.
    """
    shares = models.set_index("model")["central_share"].dropna()
    parts = []
    if len(shares):
        parts.append(
            f"The mean share of heat in the central half runs from {shares.min():.2f} ({shares.idxmin()}) to "
            f"**{shares.max():.2f}** ({shares.idxmax()})."
        )
    if reference in shares:
        means = cases[cases["model"] == reference].groupby("case")["central_share"].mean()
        words = ", ".join(f"{case} {means[case]:.2f}" for case in CASES if not np.isnan(means.get(case, np.nan)))
        parts.append(f"For {reference}, by case: {words}.")
    coarse = models[models[["grid_height", "grid_width"]].min(axis=1) < CENTRAL_CELLS]
    if len(coarse):
        grids = (
            coarse["model"] + " (" + coarse["grid_height"].astype(str) + " × " + coarse["grid_width"].astype(str) + ")"
        )
        parts.append(
            f"Left out, because a map of so few cells has none in the middle and would have 0.50 whatever it shows: "
            f"{', '.join(grids)}."
        )
    return " ".join(parts)


def likeness_in_words(correlation: float) -> str:
    """What a `likeness` says about a single map, as the end of a sentence."""
    if np.isnan(correlation):
        return "too few maps have any shape to compare them"
    if correlation >= ALIKE:
        return (
            "a map is much the same whatever the picture, be it from habit or because most lesions are in the middle, "
            "so **one map says little about its own lesion**"
        )
    return "more of a map changes with the picture than stays"


def verdict(checked: Sanity) -> str:
    """In one sentence: do the maps survive the loss of all that was learned?"""
    last = checked.curve.iloc[-1]
    mean, low, high = checked.excess["spearman"]
    numbers = (
        f"with all {last['layers']} layers random, a map's rank correlation with the original is "
        f"{last['spearman']:.2f}, against {checked.other_images['spearman']:.2f} between maps of different images "
        f"(difference {mean:+.2f}, {low:+.2f} to {high:+.2f})"
    )
    if low > 0:
        return (
            f"The maps **survive in part**: {numbers}. Some of what they show is the picture and the architecture, not "
            "what was learned."
        )
    return (
        f"The maps **do not survive**: {numbers}. They are no more alike than maps of different images, so what they "
        "show comes from what was learned."
    )


def found(cases: pd.DataFrame, reference: str, checked: Sanity, between_classes: float) -> str:
    """What notebook 05 found, as a list.

    Args:
        cases: `measured`.
        reference: the model that chose the cases and was checked.
        checked: `sanity`.
        between_classes: the mean rank correlation of the reference's maps for two classes of one picture.
    """
    central = cases.loc[cases["model"] == reference, "central_share"].mean()
    wrong = cases[cases["case"] == WRONG]
    others = wrong[wrong["model"] != reference]
    mistaken = int((others["predicted"] != others["dx"]).sum())
    floor = checked.other_images["spearman"]
    lines = [
        verdict(checked),
        f"The maps of {reference} for the different pictures of the check have a mean rank correlation of {floor:.2f}: "
        f"{likeness_in_words(floor)}.",
        f"Its maps for two classes of one picture have one of {between_classes:.2f}, where 1 would be the same map.",
    ]
    if not np.isnan(central):
        lines.append(f"{central:.2f} of its heat is in the central half, where evenly spread heat has 0.50.")
    if len(others):
        lines.append(
            f"The other models are wrong too in {mistaken} of {len(others)} answers to its most confident mistakes."
        )
    lines.append(f"Empty maps, of all models: {int(cases['empty'].sum())} of {len(cases)}.")
    return "\n".join(f"- {line}" for line in lines)
