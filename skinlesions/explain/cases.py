"""The cases that notebook 05 explains, chosen by a rule, and what is found for them, model by model."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import predictions
from skinlesions.evaluation import calibration
from skinlesions.explain.gradcam import Heat, central_share, is_empty
from skinlesions.explain.similarity import likeness
from skinlesions.models import networks
from skinlesions.models.networks import Description

# The kinds of case, in the order in which they are shown.
RIGHT, WRONG, BORDERLINE = CASES = ("right", "wrong", "borderline")


def answers(table: pd.DataFrame) -> pd.DataFrame:
    """What a model answers for every image, with calibrated probabilities: those of several folds can be compared.

    Args:
        table: predictions.csv of the model.

    Returns:
        image_id, dx, fold, predicted, probability, runner_up (the second most probable class), margin (by how much),
        ordered by image_id.
    """
    test = predictions.select(table, "test")
    probabilities = calibration.probabilities(table, "test", "temperature")
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    names = np.array(CLASSES)
    return test[["image_id", "dx", "fold"]].assign(
        predicted=names[order[:, 0]],
        probability=ranked[:, 0],
        runner_up=names[order[:, 1]],
        margin=ranked[:, 0] - ranked[:, 1],
    )


def choose_cases(answered: pd.DataFrame) -> pd.DataFrame:
    """Of every class the most confident right answer, the most confident wrong one, and the closest call.

    The closest call may be right or wrong; of equals the first by image_id is taken. A case that does not exist, such
    as a wrong answer in a class without any, has no row.

    Args:
        answered: `answers` of the model that decides.

    Returns:
        case, and the columns of `answered`, and other: the class that competes with the answer, which is the true one
        if the answer is wrong and the runner-up if it is right. Ordered by case and class.
    """
    is_right = answered["predicted"] == answered["dx"]
    candidates = {
        RIGHT: (answered[is_right], "probability", False),
        WRONG: (answered[~is_right], "probability", False),
        BORDERLINE: (answered, "margin", True),
    }
    chosen = []
    for case, (rows, column, ascending) in candidates.items():
        ordered = rows.sort_values([column, "image_id"], ascending=[ascending, True])
        firsts = ordered.drop_duplicates("dx").set_index("dx", drop=False)
        chosen.append(firsts.loc[[name for name in CLASSES if name in firsts.index]].assign(case=case))
    table = pd.concat(chosen, ignore_index=True)
    other = table["runner_up"].where(table["predicted"] == table["dx"], table["dx"])
    return table[["case", *answered.columns]].assign(other=other)


def answers_to_cases(cases: pd.DataFrame, answered: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What every model answers for every case: case, dx, image_id, fold, model, predicted, probability.

    The fold is the model's own: an image is explained by the network that was tested on it.

    Args:
        answered: `answers` by the name of the model.

    Raises:
        UserError: a model has no prediction for one of the images.
    """
    parts = []
    for name, table in answered.items():
        indexed = table.set_index("image_id")
        if unknown := sorted(set(cases["image_id"]) - set(indexed.index)):
            raise UserError(f"the predictions of {name} lack the image {unknown[0]}; run its train stage again")
        found = indexed.loc[cases["image_id"], ["fold", "predicted", "probability"]].reset_index(drop=True)
        parts.append(pd.concat([cases[["case", "dx", "image_id"]], found], axis=1).assign(model=name))
    columns = ["case", "dx", "image_id", "fold", "model", "predicted", "probability"]
    return pd.concat(parts, ignore_index=True)[columns]


def measured(
    answered: pd.DataFrame, found: Mapping[str, Heat], descriptions: Mapping[str, Description]
) -> pd.DataFrame:
    """`answers_to_cases` with what was found for each answer.

    Args:
        found: by model, the heat of the class that it answers in each case.
        descriptions: by model.

    Returns:
        The columns of `answered`, training and initialisation of the model, repeated (whether the network gives the
        recorded answer to the picture as it is, where a recorded answer may be an average over turned and mirrored
        pictures), central_share and empty.
    """
    parts = []
    for name, heat in found.items():
        part = answered[answered["model"] == name]
        repeated = np.array(CLASSES)[heat.logits.argmax(axis=1)] == part["predicted"]
        trained = {"training": descriptions[name].training, "initialisation": descriptions[name].initialisation}
        shares = central_share(heat.maps)
        parts.append(part.assign(**trained, repeated=repeated, central_share=shares, empty=is_empty(heat.maps)))
    return pd.concat(parts, ignore_index=True)


def by_model(cases: pd.DataFrame, found: Mapping[str, Heat]) -> pd.DataFrame:
    """`measured`, a row per model.

    Args:
        cases: what `measured` returned.
        found: what it was given.

    Returns:
        model, training, initialisation; grid_height and grid_width (the cells of its maps); cases, right, repeated and
        empty (counts); the mean central_share; other_pictures, the `likeness` of its maps.
    """
    rows = []
    for name, own in cases.groupby("model", sort=False):
        maps = found[name].maps
        row = {"model": name, **own[["training", "initialisation"]].iloc[0]}
        row |= {"grid_height": maps.shape[1], "grid_width": maps.shape[2], "cases": len(own)}
        row |= {"right": int((own["predicted"] == own["dx"]).sum())}
        row |= {column: int(own[column].sum()) for column in ("repeated", "empty")}
        rows.append(row | {"central_share": own["central_share"].mean(), "other_pictures": likeness(maps)})
    return pd.DataFrame(rows)


def origin(description: Description) -> str:
    """How a model was trained and from which weights, in the few words that stand beside its name in a figure."""
    if description.training == networks.FROM_SCRATCH:
        return description.training
    return f"{description.training}, {description.initialisation} weights"
