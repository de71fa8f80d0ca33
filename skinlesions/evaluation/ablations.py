"""What transfer is worth: ImageNet's weights against random ones, and a fine-tuned backbone against a frozen one.

Two models answer such a question if they differ in nothing else. Which those are follows from their descriptions.
"""

from collections.abc import Iterator
from itertools import permutations

import numpy as np
import pandas as pd

from skinlesions.evaluation.bootstrap import holm
from skinlesions.evaluation.pairwise import Paired

# What may differ between two models: the key of their descriptions, what it is to be, and instead of what.
QUESTIONS = {
    "ImageNet weights instead of random ones": ("initialisation", "ImageNet", "random"),
    "fine-tuned instead of frozen": ("training", "fine-tuned", "frozen features"),
}

# Keys of a description that say nothing about how the network was made or trained.
NAMES = ("name", "backbone")
# What follows from `training`: only a network that reads images in training is asked about several views of them.
CONSEQUENCES = ("views",)

COLUMNS = (
    *("question", "shared", "architecture", "image_size", "model", "other"),
    *("score", "score_low", "score_high", "other_score", "other_low", "other_high"),
    *("difference", "low", "high", "p_value", "p_holm"),
)


def pairs(descriptions: dict[str, dict[str, object]]) -> Iterator[tuple[str, str, str]]:
    """Every question with the two models that answer it: question, model, other.

    Args:
        descriptions: by model, the keys of skinlesions.models.networks.Description.
    """
    for question, (key, wanted, instead) in QUESTIONS.items():
        for model, other in permutations(sorted(descriptions), 2):
            own, its = descriptions[model], descriptions[other]
            if (own.get(key), its.get(key)) != (wanted, instead) or own.get("architecture") is None:
                continue
            ignored = {key, *NAMES, *(CONSEQUENCES if key == "training" else ())}
            if all(own[name] == its.get(name) for name in own if name not in ignored):
                yield question, model, other


def table(descriptions: dict[str, dict[str, object]], paired: Paired) -> pd.DataFrame:
    """The balanced accuracies of every such pair and their difference, with intervals, in COLUMNS.

    `shared` is what the two have in common where they might differ: the training, or the initialisation. p_holm is
    adjusted for the number of rows.

    Args:
        descriptions: by model, the keys of skinlesions.models.networks.Description.
        paired: of all models.
    """
    rows = []
    for question, model, other in pairs(descriptions):
        own = descriptions[model]
        shared = own["training"] if QUESTIONS[question][0] == "initialisation" else own["initialisation"]
        row = {"question": question, "shared": shared, "model": model, "other": other}
        row |= {key: own[key] for key in ("architecture", "image_size")}
        for name, score in ((model, "score"), (other, "other_score")):
            low, high = paired.interval(name)
            prefix = score.removesuffix("_score")
            row |= {score: paired.estimates[name], f"{prefix}_low": low, f"{prefix}_high": high}
        rows.append(row | paired.difference(model, other))
    found = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "p_holm"])
    return found.assign(p_holm=holm(found["p_value"].to_numpy(dtype=np.float64)))[list(COLUMNS)]
