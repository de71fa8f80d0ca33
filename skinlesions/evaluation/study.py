"""Every table of notebook 04, from the models' out-of-fold predictions and the images' metadata alone.

The notebook reads them from data/, `make verify` from reports/; both call `tables`, and that is why what is published
can be checked without images, weights or a GPU.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pandas as pd

from skinlesions.core import config, names
from skinlesions.core.errors import UserError
from skinlesions.core.names import ALWAYS_NV, ENSEMBLE, STACKED, leading
from skinlesions.core.parallel import computed
from skinlesions.data import balancing, predictions
from skinlesions.data.records import Study
from skinlesions.evaluation import (
    ablations,
    bootstrap,
    calibration,
    comparison,
    ensembles,
    operating_points,
    pairwise,
    reliability,
    selective,
    subgroups,
    thresholds,
)
from skinlesions.evaluation.metrics import softmax

Result = TypeVar("Result")


def tables(study: Study, settings: config.Compare) -> dict[str, pd.DataFrame]:
    """Every table of notebook 04 by its name; core/tables.yaml says of each what it shows and which function makes it.

    Args:
        study: what was predicted.
        settings: of the comparison. `interval_method` is that of the scores and their differences; bands of curves,
            groups and calibration errors have percentile intervals. The resamples of the lesions are the same for every
            model and statistic; p-values, which are multiplied by the number of pairs, have `test_resamples`.

    Raises:
        UserError: there is no model, one has a reserved name, the ensemble has a member that is not a model, or the
            models were not tested on the same images and folds.
    """
    _check(study.models)
    # In one order, so that the tables do not depend on how the models were given.
    models = dict(sorted(study.models.items()))
    members = names.members(settings.ensemble, models)
    truth = ensembles.shared_rows(models, "test")
    labels, groups = predictions.labels(truth), truth["group"].to_numpy()
    # More resamples of one seed begin with the same ones.
    most = max(settings.resamples, settings.test_resamples)
    drawn = bootstrap.lesion_resamples(groups, labels, most, settings.seed)
    weights = drawn[: settings.resamples].copy()
    confidence, method = settings.confidence, settings.interval_method

    answering = {name: softmax(predictions.logits(predictions.select(table, "test"))) for name, table in models.items()}
    scaled = _of_each(models, lambda table: calibration.every_way(table, "test", study.plan))
    descriptions = dict(study.descriptions)
    together: dict[str, pd.DataFrame] = {}
    if len(members) > 1:
        built = ensembles.build({name: models[name] for name in members}, study.plan)
        scaled[ENSEMBLE] = {way: np.mean([scaled[name][way] for name in members], axis=0) for way in calibration.WAYS}
        answering |= {ENSEMBLE: scaled[ENSEMBLE]["temperature"], STACKED: built.probabilities["stacked_rebalanced"]}
        descriptions[ENSEMBLE] = {"training": f"mean of {len(members)} models"}
        descriptions[STACKED] = {"training": f"stacked on {len(members)} models"}
        together = ensembles.tables(built, weights, confidence, method)

    answers = {name: own.argmax(axis=1) for name, own in answering.items()}
    paired = pairwise.compare(labels, answers, groups, drawn[: settings.test_resamples], confidence, method)
    del drawn
    scores = comparison.score(truth, answering, weights, confidence, method)
    compared = comparison.tables(scores, paired, descriptions)
    shown = leading(scores.ranked)

    decided = _decided(models, scaled, members, settings.calibrated_by, study.plan)
    last = shown[-1]
    # Groups and selection are about the answers of the comparison; scaling by class would give others.
    by_group = subgroups.scored(*decided[last], truth["image_id"], study.metadata, predicted=answers[last])
    voices = np.stack([scaled[name]["temperature"] for name in (members if last == ENSEMBLE else [last])])
    chapters: list[Callable[[], dict[str, pd.DataFrame]]] = [
        lambda: operating_points.tables(decided, weights, confidence, shown),
        lambda: selective.tables(
            labels, voices.mean(axis=0), selective.certainties(voices), groups, weights, confidence
        ),
        lambda: subgroups.tables(by_group, weights, confidence),
        lambda: reliability.tables(labels, scaled, weights, confidence, shown),
        lambda: {"temperatures": calibration.temperatures(models)},
    ]
    found = compared | together | {"transfer": ablations.table(study.descriptions, paired)}
    for own in computed(lambda chapter: chapter(), chapters):
        found |= own
    return found


def _of_each(models: dict[str, pd.DataFrame], function: Callable[[pd.DataFrame], Result]) -> dict[str, Result]:
    """What `function` makes of the predictions of every model."""
    return dict(zip(models, computed(function, models.values()), strict=True))


def _decided(
    models: dict[str, pd.DataFrame],
    scaled: dict[str, dict[str, np.ndarray]],
    members: list[str],
    way: str,
    plan: balancing.Plan,
) -> operating_points.Parts:
    """The test and validation images of every model, and of the mean of the members, as the decisions take them."""
    validated = _of_each(models, lambda table: calibration.probabilities(table, "val", way, plan))
    parts = {
        name: (
            thresholds.part(table, "test", scaled[name][way]),
            thresholds.part(table, "val", validated[name]),
        )
        for name, table in models.items()
    }
    if len(members) > 1:
        test, val = (
            replace(own[0], probabilities=np.mean([part.probabilities for part in own], axis=0))
            for own in zip(*(parts[name] for name in members), strict=True)
        )
        parts[ENSEMBLE] = test, val
    return parts


def _check(models: dict[str, pd.DataFrame]) -> None:
    """Refuse no models, and names that the tables add rows of."""
    if not models:
        raise UserError("there are no predictions to compare; name at least one model")
    for name in (ENSEMBLE, STACKED, ALWAYS_NV):
        if name in models:
            raise UserError(f"a model cannot be called {name!r}: the comparison adds a row of that name")
