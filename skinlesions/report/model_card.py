"""The card of the best single model of a run, with the ensemble beside it.

Its nine sections are those of Mitchell et al., "Model Cards for Model Reporting", FAT* 2019,
doi:10.1145/3287560.3287596. Whatever is a number comes from the tables of the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from skinlesions.core import files, names
from skinlesions.core.classes import CLASS_NAMES, CLASSES, MALIGNANT
from skinlesions.core.formatting import ABSENT, estimate, number, percent
from skinlesions.core.names import (
    ATTRIBUTE_NAMES,
    CALIBRATION_METRICS,
    CLASS_METRIC_NAMES,
    INTERVAL_METRICS,
    METRIC_NAMES,
    MINIMUM_LESIONS,
    TASK_NAMES,
)
from skinlesions.core.names import CALIBRATION_NAMES as WAY_NAMES
from skinlesions.data import balancing
from skinlesions.report.evidence import FITS, Evidence, Leaders, Place

# How `skinlesions.inference.predict` calibrates the networks of each fold.
PREDICTED_WAY = "vector"

# The coverage at which selective answering is quoted.
COVERAGE = 0.8

_CLASS_METRICS = ("recall", "specificity", "precision", "auc")
_GROUP_METRICS = ("balanced_accuracy", "sensitivity", "specificity")


@dataclass(frozen=True)
class Table:
    """A table as the page shows it.

    Attributes:
        caption: what it shows.
        header: of every column; the first one names the rows.
        rows: cells as text.
        text: the positions of the columns that hold words, not numbers.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    text: tuple[int, ...] = ()


@dataclass(frozen=True)
class Card:
    """What the page says; the prose around it is in its template.

    Attributes:
        name: of the model.
        description: the model as predictions/models.json has it.
        given: what it is given, in words.
        fit: how an image becomes a square, in words.
        members: the names of the ensemble's members; empty without one.
        facts: numbers of the run that the prose quotes, by name.
        scores, classes, calibration, areas, points, groups, nevi: tables.
        external: the table of the external set; None where none was scored.
        places: what the sections link to, by section.
    """

    name: str
    description: dict[str, Any]
    given: str
    fit: str
    members: list[str]
    facts: dict[str, Any]
    scores: Table
    classes: Table
    calibration: Table
    areas: Table
    points: Table
    groups: Table
    nevi: Table
    external: Table | None
    places: dict[str, tuple[Place, ...]] = field(default_factory=dict)


def card(evidence: Evidence, given: str) -> Card:
    """The card of the best single model.

    Args:
        evidence: the report.
        given: what that model is given, in words.

    Raises:
        UserError: a table lacks what is quoted, or a section that is linked to is not there.
    """
    leaders = Leaders.of(evidence)
    described = files.read_json(evidence.folder / evidence.published("predictions/models.json").label)
    members = names.members(evidence.parameters.compare.ensemble, evidence.parameters.models)
    return Card(
        name=leaders.single,
        description=described[leaders.single],
        given=given,
        fit=FITS[described[leaders.single]["fit"]],
        members=members if leaders.has_ensemble else [],
        facts=_facts(evidence, leaders),
        scores=_scores(leaders),
        classes=_classes(evidence, leaders),
        calibration=_calibration(evidence, leaders),
        areas=_areas(evidence, leaders),
        points=_points(evidence, leaders),
        groups=_groups(evidence, leaders),
        nevi=_nevi(evidence, leaders),
        external=_external(evidence, leaders) if evidence.record["external"] else None,
        places=_places(evidence, leaders),
    )


def _facts(evidence: Evidence, leaders: Leaders) -> dict[str, Any]:
    """The numbers that the prose quotes."""
    folds = evidence.table("compare/folds", "balanced_accuracy", model=leaders.single)
    melanoma = evidence.table("compare/classes", "images", "recall", model=leaders.single, dx="mel").iloc[0]
    curves = evidence.table("compare/coverage_curves", "coverage", "risk", score="probability")
    curves = curves.set_index(curves["coverage"].round(2))
    sizes = evidence.table("balance/folds", *CLASSES)[list(CLASSES)].sum(axis=1).to_numpy()
    # Network k is neither tested nor stopped by what it learns from.
    learned = sizes.sum() - sizes - np.roll(sizes, -1)
    redness = evidence.table("explore/redness_comparisons", "comparison", "auc").set_index("comparison")["auc"]
    confirmed = evidence.table("explore/dx_type", "dx", "histo", "confocal", "follow_up", "consensus").set_index("dx")
    benign = confirmed.drop(index=list(MALIGNANT))
    strategy = evidence.parameters.balance.strategy
    return {
        "training_images": (int(learned.min()), int(learned.max())),
        "strategy": balancing.DESCRIPTIONS.get(strategy, "the one that did best on the validation folds"),
        "fold_scores": (number(folds["balanced_accuracy"].min()), number(folds["balanced_accuracy"].max())),
        "melanomas_missed": percent(1 - melanoma["recall"]),
        "melanomas": int(melanoma["images"]),
        "best_score": estimate(leaders.row(leaders.single), "balanced_accuracy"),
        "errors_all": estimate(curves.loc[1.0], "risk"),
        "errors_sure": estimate(curves.loc[COVERAGE], "risk"),
        "coverage": percent(COVERAGE),
        "benign_unproven": percent(1 - benign["histo"].sum() / benign.to_numpy().sum()),
        "redness": number(redness.get("nv by follow-up against nv by histopathology", float("nan"))),
        "judged": leaders.title(leaders.last),
    }


def _scores(leaders: Leaders) -> Table:
    """The overall scores of the leaders, side by side."""
    metrics = (*INTERVAL_METRICS, *CALIBRATION_METRICS)
    rows = [[METRIC_NAMES[name], *(estimate(leaders.row(model), name) for model in leaders.names)] for name in metrics]
    return Table(
        "Over all classes, out of fold. Of the last three, less is better; they are of the probabilities as trained, "
        "the ensemble's of its members' scaled ones.",
        ["Metric", *leaders.names],
        rows,
    )


def _classes(evidence: Evidence, leaders: Leaders) -> Table:
    """The scores by class of the best single model, and the ensemble's recalls."""
    table = evidence.table("compare/classes", "model", "dx", "images", *_CLASS_METRICS)
    by_model = {name: table[table["model"] == name].set_index("dx") for name in leaders.names}
    own = by_model[leaders.single]
    rows = [
        [
            dx,
            f"{own.loc[dx, 'images']:,}",
            *(estimate(own.loc[dx], metric) for metric in _CLASS_METRICS),
            *(estimate(by_model[name].loc[dx], "recall") for name in leaders.names[1:]),
        ]
        for dx in CLASSES
    ]
    names = ", ".join(f"{dx} is {name}" for dx, name in CLASS_NAMES.items())
    titles = [CLASS_METRIC_NAMES[metric][0].upper() + CLASS_METRIC_NAMES[metric][1:] for metric in _CLASS_METRICS]
    return Table(
        f"By class, each against the rest, of {leaders.single}: {names}.",
        ["Class", "Images", *titles, *(f"Recall of {leaders.title(name)}" for name in leaders.names[1:])],
        rows,
    )


def _calibration(evidence: Evidence, leaders: Leaders) -> Table:
    """The calibration of the leaders by way."""
    metrics = ("nll", "brier", "ece", "class_ece")
    table = evidence.table("compare/calibration", "model", "way", *metrics)
    rows = []
    for model in leaders.names:
        for row in table[table["model"] == model].to_dict("records"):
            mark = "*" if row["way"] == PREDICTED_WAY else ""
            rows.append([f"{model}, {WAY_NAMES[row['way']]}{mark}", *(estimate(row, metric) for metric in metrics)])
    return Table(
        "How far probabilities can be taken at their word, out of fold; of each, less is better. "
        "* what predictions for new images are calibrated with.",
        ["Model and way", *(METRIC_NAMES[metric].capitalize() for metric in metrics[:3]), "The same, class by class"],
        rows,
    )


def _areas(evidence: Evidence, leaders: Leaders) -> Table:
    """How well the leaders rank the images by what a decision is about."""
    areas = ("auc", "average_precision")
    table = evidence.table("compare/discrimination", "model", "task", "images", "positives", *areas)
    table = table.set_index(["task", "model"])
    rows = [
        [task, model, f"{int(row['positives']):,} of {int(row['images']):,}", *(estimate(row, area) for area in areas)]
        for task in TASK_NAMES
        for model in leaders.names
        for row in [table.loc[(task, model)]]
    ]
    return Table(
        f"How well the probability of what is asked ranks the images: {', or '.join(TASK_NAMES.values())}.",
        ["Question", "Model", "Images", "AUC", "Average precision"],
        rows,
        text=(1,),
    )


def _points(evidence: Evidence, leaders: Leaders) -> Table:
    """The operating points of the leaders."""
    rates = ("sensitivity", "specificity")
    limits = ("threshold_min", "threshold_max")
    table = evidence.table("compare/operating_points", "model", "task", "criterion", "target", *limits, *rates)
    way = evidence.parameters.compare.calibrated_by
    note = f" Predictions for new images are made by {WAY_NAMES[PREDICTED_WAY]}: the thresholds are not theirs."
    foreign = "" if way == PREDICTED_WAY else note
    rows = [
        [
            task,
            model,
            f"{row['criterion']} {percent(row['target'])}",
            "–".join(number(row[limit]) for limit in limits),
            *(estimate(row, rate) for rate in rates),
        ]
        for task in TASK_NAMES
        for model in leaders.names
        for row in table[(table["task"] == task) & (table["model"] == model)].to_dict("records")
    ]
    return Table(
        f"An image is called when that probability, after {WAY_NAMES[way]}, reaches a threshold, which is chosen on "
        f"the validation images of each fold.{foreign} Sensitivity and specificity are those on the test images.",
        ["Question", "Model", "Chosen for", "Thresholds", "Sensitivity", "Specificity"],
        rows,
        text=(1, 2),
    )


def _groups(evidence: Evidence, leaders: Leaders) -> Table:
    """Scores by group."""
    sizes = evidence.table("compare/groups", "attribute", "group", "images", "lesions")
    columns = ("attribute", "group", "metric", "value", "low", "high", "small")
    scores = evidence.table("compare/group_scores", *columns).set_index(["attribute", "group", "metric"])
    rows = []
    for size in sizes.to_dict("records"):
        head = (size["attribute"], size["group"])
        cells = [_group_score(scores, (*head, metric)) for metric in _GROUP_METRICS]
        kind = ATTRIBUTE_NAMES.get(size["attribute"])
        title = f"{kind}: {size['group']}" if kind else size["group"]
        rows.append([title, f"{size['images']:,}", f"{size['lesions']:,}", *cells])
    return Table(
        f"By group, of {leaders.title(leaders.last)}: balanced accuracy over the classes that the group has; "
        "sensitivity to malignant and specificity on benign lesions, at thresholds chosen for a specificity of 90 %. "
        f"* rests on fewer than {MINIMUM_LESIONS} lesions of a kind: its interval is too narrow.",
        ["Group", "Images", "Lesions", "Balanced accuracy", "Sensitivity", "Specificity"],
        rows,
    )


def _group_score(scores: pd.DataFrame, key: tuple[str, str, str]) -> str:
    """One score of a group as text, marked where it rests on few lesions; a dash where there is none."""
    if key not in scores.index:
        return ABSENT
    row = scores.loc[key]
    return estimate(row, "value", ends="") + ("*" if row["small"] == "yes" else "")


def _nevi(evidence: Evidence, leaders: Leaders) -> Table:
    """The nevi by how they were confirmed."""
    table = evidence.table("compare/nevi", "dx_type", "images", "recall", "specificity")
    names = {"histo": "histopathology", "follow_up": "follow-up", "histo less follow_up": "the first less the second"}
    rows = [
        [
            names.get(row["dx_type"], row["dx_type"]),
            ABSENT if pd.isna(row["images"]) else f"{int(row['images']):,}",
            estimate(row, "recall"),
            estimate(row, "specificity"),
        ]
        for row in table.to_dict("records")
        if row["dx_type"] in names
    ]
    return Table(
        f"Nevi by how they were confirmed, of {leaders.title(leaders.last)}: called nevus (recall), not called "
        "malignant (specificity).",
        ["Confirmed by", "Images", "Recall", "Specificity"],
        rows,
    )


def _external(evidence: Evidence, leaders: Leaders) -> Table | None:
    """Scores on the external set, if a leader was scored there."""
    against = evidence.table("external/against", "model", "out_of_fold", "external", "difference").set_index("model")
    scores = evidence.table("external/scores", "model", "metric", "class", "estimate", "low", "high")
    if not (names := [name for name in leaders.names if name in against.index]):
        return None
    of_all = ("balanced accuracy, external", "balanced accuracy, out of fold", "difference")
    compared = zip(of_all, ("external", "out_of_fold", "difference"), strict=True)
    rows = [[title, *(estimate(against.loc[name], key) for name in names)] for title, key in compared]
    overall = scores[scores["class"].isna()].set_index(["model", "metric"])
    for metric in ("accuracy", "macro_f1", "macro_auc"):
        cells = [estimate(overall.loc[(name, metric)], "estimate", ends="") for name in names]
        rows.append([f"{METRIC_NAMES[metric]}, external", *cells])
    about = "On {name} ({images:,} images), which no choice used.".format_map(evidence.record["external"])
    widths = "The intervals of balanced accuracy there are Wilson's, combined; small classes make them wide."
    return Table(f"{about} {widths}", ["Metric", *names], rows)


def _places(evidence: Evidence, leaders: Leaders) -> dict[str, tuple[Place, ...]]:
    """What the sections of the card link to."""
    training = f"03_train_{leaders.single}"

    def sections(page: str, headings: Sequence[str]) -> tuple[Place, ...]:
        return tuple(evidence.section(page, heading) for heading in headings)

    details = (
        evidence.section(training),
        evidence.published("predictions/models.json"),
        evidence.published(f"predictions/{leaders.single}.csv.gz"),
        evidence.published("provenance.json"),
    )
    groups = sections("04_compare", ["Groups of patients and images"])
    scores = ["The scores", "Class by class", "Calibration", "Operating points and decisions"]
    outside = sections("07_external", ["What is external about it"]) if evidence.record["external"] else ()
    shortcut = sections("01_explore", ["A possible shortcut: how the picture was taken"])
    return {
        "details": details,
        "use": (evidence.file("README.md", "Predict your own images, score your own predictions"),),
        "factors": (*groups, *sections("01_explore", ["Age, sex and site"])),
        "metrics": sections("04_compare", ["Why balanced accuracy leads", "How sure"]),
        "evaluation": (*sections("02_balance", ["The folds", "Near-duplicates"]), *outside),
        "training": (evidence.section(training, "Training"), evidence.section("02_balance", "The strategies compared")),
        "analyses": (*sections("04_compare", scores), *groups, *sections("04_compare", ["Answering only when sure"])),
        "ethics": (evidence.file("data/README.md", "Known issues"),),
        "caveats": (*shortcut, evidence.file("README.md", "Limits")),
    }
