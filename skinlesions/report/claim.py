"""The report held against CLAIM 2024: what each of the 44 items asks, and what this run did about it.

Tejani et al., "Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update", Radiology: Artificial
Intelligence 6(4):e240300 (2024), doi:10.1148/ryai.240300. The items are put in the project's own words. Whether one is
done follows from what there is to say: something done and nothing missing, something of both, or only what is missing.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from skinlesions.core.classes import CLASSES, MALIGNANT
from skinlesions.core.formatting import estimate, listed, number, percent, plural
from skinlesions.core.names import ALL, ENSEMBLE, STACKED
from skinlesions.data import balancing
from skinlesions.report.evidence import FITS, Evidence, Leaders, Place

DONE, PARTLY, NOT_DONE, NOT_APPLICABLE = "done", "partly", "not done", "not applicable"
STATUSES = (DONE, PARTLY, NOT_DONE, NOT_APPLICABLE)

# The sections of the checklist with the numbers of their items, and what each item asks.
PARTS: dict[str, dict[int, str]] = {
    "Title and abstract": {
        1: "Title that names AI, and which kind",
        2: "Summary from design to conclusions",
    },
    "Introduction": {
        3: "Background and intended role",
        4: "Aims and hypotheses",
    },
    "Methods: study design": {
        5: "Looking back or ahead",
        6: "What the study is for",
    },
    "Methods: data": {
        7: "Where the data come from",
        8: "Who and what is included",
        9: "What is done to the images",
        10: "Which part of the data is used",
        11: "Removal of identities",
        12: "Missing values",
        13: "How the images were taken",
    },
    "Methods: reference standard": {
        14: "What counts as the truth",
        15: "Why that is the truth",
        16: "Who determined it",
        17: "Labels of the test images",
        18: "Agreement between and within readers",
    },
    "Methods: data partitions": {
        19: "How the data are split",
        20: "What the parts do not share",
    },
    "Methods: testing data": {
        21: "How many cases were planned",
    },
    "Methods: model": {
        22: "The networks in detail",
        23: "Software and its versions",
        24: "Weights at the start",
    },
    "Methods: training": {
        25: "How the networks are trained",
        26: "How the final network is chosen",
        27: "Ensembles",
    },
    "Methods: evaluation": {
        28: "Which metrics",
        29: "Uncertainty and tests",
        30: "Robustness and sensitivity",
        31: "Explanations of answers",
        32: "Test on internal data",
        33: "Test on external data",
        34: "Registration of the trial",
    },
    "Results: data": {
        35: "Cases in and out",
        36: "Who is in each part",
    },
    "Results: model performance": {
        37: "Scores with their uncertainty",
        38: "Diagnostic performance and its precision",
        39: "Analysis of the mistakes",
    },
    "Discussion": {
        40: "Limitations",
        41: "What it means for practice",
    },
    "Other information": {
        42: "Protocol and technical details",
        43: "Code, models and data to be had",
        44: "Funding",
    },
}

# What cannot be asked of images that a program draws.
OF_PATIENTS = (5, 8, 11, 13, 14, 15, 16, 17, 18, 33, 34, 36, 41)
SYNTHETIC = "The images of this run are drawn by a program: no patient, no camera and no diagnosis stands behind them."

# What the evidence for a diagnosis is called in the data, and by readers.
CONFIRMATIONS = {
    "histo": "histopathology",
    "confocal": "confocal microscopy",
    "follow_up": "an unchanged look under follow-up",
    "consensus": "the agreement of experts",
}


@dataclass(frozen=True)
class Answer:
    """What a run has to say to one item.

    Attributes:
        did: what it did, in sentences; of an item that does not apply, the reason.
        lacks: what is missing.
        places: where a reader finds it.
        applies: whether the item can be asked of this run at all.
    """

    did: str = ""
    lacks: str = ""
    places: tuple[Place, ...] = ()
    applies: bool = True


@dataclass(frozen=True)
class Item:
    """One item of the checklist, answered.

    Attributes:
        number: 1 to 44.
        part: the section of the checklist that it is in.
        part_number: the place of that section, from 1.
        ask: what it asks, in a few words.
        status: one of STATUSES.
        did, lacks, places: see Answer.
    """

    number: int
    part: str
    part_number: int
    ask: str
    status: str
    did: str
    lacks: str
    places: tuple[Place, ...]


def items(evidence: Evidence) -> list[Item]:
    """Every item of the checklist with what the run has to say to it.

    Raises:
        UserError: a table lacks what is quoted, or a section that is linked to is not there.
    """
    leaders = Leaders.of(evidence)
    answers: dict[int, Answer] = {}
    for part in _ANSWERED:
        answers |= part(evidence, leaders)
    if evidence.is_sample:
        answers |= dict.fromkeys(OF_PATIENTS, Answer(did=SYNTHETIC, applies=False))
    return [
        Item(number, part, position, ask, status(answers[number]), *_content(answers[number]))
        for position, (part, asks) in enumerate(PARTS.items(), start=1)
        for number, ask in asks.items()
    ]


def status(answer: Answer) -> str:
    """Which of STATUSES follows from `answer`."""
    if not answer.applies:
        return NOT_APPLICABLE
    if not answer.lacks:
        return DONE
    return PARTLY if answer.did else NOT_DONE


def counts(answered: list[Item]) -> dict[str, int]:
    """How many items have each of STATUSES."""
    found = Counter(item.status for item in answered)
    return {status: found[status] for status in STATUSES}


def _content(answer: Answer) -> tuple[str, str, tuple[Place, ...]]:
    """The fields of `answer` that an item shows."""
    return answer.did, answer.lacks, answer.places


def _between(least: int, most: int) -> str:
    """A range of whole numbers as text."""
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


# --- the answers, section by section ------------------------------------------------------------------------------


def _title_and_introduction(evidence: Evidence, leaders: Leaders) -> dict[int, Answer]:
    """Items 1 to 4."""
    return {
        1: Answer(
            "The title names the task and the data; the first sentence says that deep neural networks answer it.",
            places=(evidence.section("index"),),
        ),
        2: Answer(
            "The first page gives design, methods and results, each score with its interval.",
            "There is no structured abstract; conclusions stand at the end of each notebook.",
            (evidence.section("index", "The result"),),
        ),
        3: Answer(
            "The README says which published study is repeated, and what its protocol lacked; the model card says what "
            "the models are meant for.",
            "The clinical literature is not reviewed.",
            (evidence.file("README.md"), evidence.section("model_card", "Intended use")),
        ),
        4: Answer(
            "One question opens the README, and each notebook opens with its own.",
            "No hypothesis was written down before the results were known.",
            (evidence.file("README.md"), evidence.section("index", "Read in this order")),
        ),
    }


def _design(evidence: Evidence, leaders: Leaders) -> dict[int, Answer]:
    """Items 5 and 6."""
    models = evidence.parameters.models
    return {
        5: Answer(
            "Looking back: the images were taken and diagnosed for other ends, and published in 2018.",
            places=(evidence.file("data/README.md", "Why it was made, and how"),),
        ),
        6: Answer(
            f"To compare {plural(len(models), 'model')} on the same lesions, and to repeat a published study under a "
            "protocol that keeps lesions apart. No product is developed.",
            places=(evidence.section("04_compare"), evidence.file("README.md")),
        ),
    }


def _data(evidence: Evidence, leaders: Leaders) -> dict[int, Answer]:
    """Items 7 to 13."""
    data, prepare = evidence.record["data"], evidence.parameters.prepare
    tested = (
        evidence.table("compare/classes", "model", "dx", "images").query("model == @leaders.single")["images"].sum()
    )
    left_out = data["images"] - int(tested)
    sizes = evidence.table("explore/image_sizes", "width", "height", "share")
    common = sizes.loc[sizes["share"].idxmax()]
    sides = sorted(
        {backbone.image_size for backbone in evidence.parameters.backbones.values()}
        | {model.image_size for model in evidence.parameters.models.values() if model.image_size}
    )
    read = _between(sides[0], sides[-1])
    pictures = evidence.section("01_explore", "What the pictures look like")
    return {
        7: _sources(evidence),
        8: Answer(
            f"{tested:,} of {plural(data['images'], 'published image')} are tested; {left_out:,} are left out.",
            "By which criteria patients were chosen, where and when, is said by the authors of the data and not "
            "repeated here.",
            (evidence.file("data/README.md", "Why it was made, and how"),),
        ),
        9: Answer(
            f"Each image becomes a square of {prepare.size} pixels ({FITS[prepare.fit]}). The networks read it at "
            f"{read} pixels, scaled and shifted as each expects. No hair is removed and no colour corrected.",
            places=(pictures, evidence.file("params.yaml", "prepare"), evidence.file("params.yaml", "backbones")),
        ),
        10: Answer(
            ("The ends of the longer side of an image are cut off. " if prepare.fit == "crop" else "")
            + "No region of interest is drawn, and no image is picked: every network sees the middle of all images of "
            "its folds.",
            places=(evidence.file("params.yaml", "prepare"), evidence.section("02_balance", "The folds")),
        ),
        11: Answer(
            "The data are public and name nobody: lesions have numbers, patients have none.",
            "Whether a picture shows something that identifies a person was not checked here.",
            (evidence.file("data/README.md", "What an image comes with"),),
        ),
        12: _missing_values(evidence),
        13: Answer(
            f"Dermatoscopic photographs, by several cameras in two clinics; {percent(common['share'])} of the files "
            f"have {common['width']:.0f} × {common['height']:.0f} pixels.",
            "With which camera and dermatoscope an image was taken is not in the metadata used here.",
            (pictures, evidence.file("data/README.md", "Known issues")),
        ),
    }


def _sources(evidence: Evidence) -> Answer:
    """Item 7."""
    data, external = evidence.record["data"], evidence.record["external"]
    amount = f"{plural(data['images'], 'image')} of {plural(data['lesions'], 'lesion')}"
    if evidence.is_sample:
        did = f"{amount}, drawn by a program with the seed {evidence.parameters.data.sample_seed}."
    else:
        did = (
            f"HAM10000, published at Harvard Dataverse (doi:10.7910/DVN/DBW86T): {amount}. This run had them from: "
            f"{data['origin']}. The files are named with their SHA-256."
        )
    if external:
        did += f" The external set {external['name']} has {plural(external['images'], 'image')}."
    return Answer(
        did,
        places=(
            evidence.section("index", "Where the numbers come from"),
            evidence.published("provenance.json"),
            evidence.file("data/README.md"),
        ),
    )


def _missing_values(evidence: Evidence) -> Answer:
    """Item 12."""
    row = evidence.table("explore/missing_values", "images", "age", "sex", "localization", dx="all").iloc[0]
    return Answer(
        f"Of {row['images']:,} images, age is missing in {row['age']:,}, sex in {row['sex']:,} and the site in "
        f"{row['localization']:,}. Nothing is filled in. No network reads these columns; as subgroups, the unknown are "
        "a group of their own. Every image has its diagnosis.",
        places=(evidence.section("01_explore", "Age, sex and site"),),
    )


def _reference_standard(evidence: Evidence, leaders: Leaders) -> dict[int, Answer]:
    """Items 14 to 18."""
    confirmed = evidence.table("explore/dx_type", "dx", *CONFIRMATIONS).set_index("dx")
    totals = confirmed.sum().sort_values(ascending=False, kind="stable")
    kinds = listed([f"{CONFIRMATIONS[name]} for {int(count):,}" for name, count in totals.items() if count])
    malignant = confirmed.loc[list(MALIGNANT)]
    external = evidence.record["external"]
    own = f" Those of {external['name']} are its publisher's." if external else ""
    section = evidence.section("01_explore", "How the diagnoses were confirmed")
    card = evidence.file("data/README.md", "What an image comes with")
    return {
        14: Answer(
            f"The diagnosis that comes with an image. It rests on {kinds} images; of the malignant ones, "
            f"{percent(malignant['histo'].sum() / malignant.to_numpy().sum())} on histopathology.",
            places=(section,),
        ),
        15: Answer(
            "It is the only diagnosis that the data have, by the strongest evidence there was for each lesion. What "
            f"the weaker evidence for nevi does to the scores is measured: {_nevi(evidence)}.",
            places=(section, evidence.section("04_compare", "Groups of patients and images")),
        ),
        16: Answer(
            "Pathologists, doctors who followed a lesion up, and experts who agreed, as the authors of the data say.",
            "How many looked at an image, and with what experience, is not known.",
            (section, card),
        ),
        17: Answer(
            f"Tested out of fold, an image has the same diagnosis that it has in training.{own}",
            "No test image was diagnosed anew for this study.",
            (card,),
        ),
        18: Answer(
            lacks="The data have one diagnosis per image and no second reading, so agreement cannot be measured."
        ),
    }


def _nevi(evidence: Evidence) -> str:
    """The specificity on nevi by how they were confirmed, as part of a sentence."""
    table = evidence.table("compare/nevi", "dx_type", "specificity")
    rows = [row for row in table.to_dict("records") if row["dx_type"] in CONFIRMATIONS]
    return "nevi not called malignant, confirmed by " + listed(
        [f"{CONFIRMATIONS[row['dx_type']]}: {estimate(row, 'specificity')}" for row in rows]
    )


def _partitions(evidence: Evidence, leaders: Leaders) -> dict[int, Answer]:
    """Items 19 to 21."""
    split = evidence.parameters.split
    sizes = evidence.table("balance/folds", "fold", *CLASSES)[list(CLASSES)].sum(axis=1)
    merged = "No search for photographs of one lesion under two names was made."
    if split.duplicates.neighbours:
        pairs = evidence.table("balance/duplicates", "confirmed")["confirmed"].astype(str).eq("True").sum()
        merged = f"{plural(int(pairs), 'pair')} of photographs showed one lesion under two names, which were merged."
    best = leaders.row(leaders.single)
    reach = 100 * (best["balanced_accuracy_high"] - best["balanced_accuracy_low"]) / 2
    folds = evidence.section("02_balance", "The folds")
    return {
        19: Answer(
            f"Into {split.folds} folds of {_between(sizes.min(), sizes.max())} images, dealt by lesion with about the "
            f"same share of each class (seed {split.seed}). Network k is tested on fold k, stopped by fold k + 1 and "
            f"trained on the other {split.folds - 2}, so that every image is tested once.",
            places=(folds, evidence.file("params.yaml", "split")),
        ),
        20: Answer(
            f"Lesions: none is in two folds. {merged}",
            "Patients have no number in the data, so two lesions of one person may be on both sides.",
            (folds, evidence.section("02_balance", "Near-duplicates")),
        ),
        21: Answer(
            lacks="No sample size was calculated: all images there are were used. As it turned out, the interval of "
            f"the best single model's balanced accuracy reaches ±{number(reach, 1)} points.",
            places=(evidence.section("04_compare", "How sure"),),
        ),
    }


def _model(evidence: Evidence, leaders: Leaders) -> dict[int, Answer]:
    """Items 22 to 24."""
    software, parameters = evidence.record["software"], evidence.parameters
    packages = {"Python": software["python"]} | software["packages"]
    versions = [f"{name} {packages[name]}" for name in ("Python", "keras", "tensorflow") if name in packages]
    started = leaders.comparison[leaders.comparison["model"].isin(list(parameters.models))]["initialisation"]
    provenance = evidence.section("index", "Where the numbers come from")
    training = evidence.section(f"03_train_{leaders.single}")
    return {
        22: Answer(
            f"{plural(len(parameters.models), 'model')}: backbone, the layer it is cut at, pooling, head, and how many "
            "pixels it reads. Each gives seven logits.",
            places=(
                training,
                evidence.published("predictions/models.json"),
                evidence.section("index", "Read in this order"),
                evidence.file("params.yaml", "models"),
            ),
        ),
        23: Answer(
            f"{listed(versions)}; {plural(len(software['packages']), 'package')} with versions, and all they need "
            f"pinned by hash. Hardware: {evidence.record['hardware']}.",
            places=(provenance, evidence.published("provenance.json"), evidence.file("requirements.txt")),
        ),
        24: Answer(
            f"From ImageNet in {plural(int((started == 'ImageNet').sum()), 'model')}, at random in "
            f"{plural(int((started == 'random').sum()), 'model')}. Every file of weights is named with its SHA-256.",
            places=(provenance, evidence.file("params.yaml", "backbones")),
        ),
    }


def _training(evidence: Evidence, leaders: Leaders) -> dict[int, Answer]:
    """Items 25 to 27."""
    parameters = evidence.parameters
    head, fine_tune, balance = parameters.head, parameters.fine_tune, parameters.balance
    page = f"03_train_{leaders.single}"
    tuned = int((leaders.comparison["training"] == "fine-tuned").sum())
    further = (
        f" {plural(tuned, 'model')} {'is' if tuned == 1 else 'are'} then fine-tuned for up to "
        f"{plural(fine_tune.epochs, 'epoch')} with AdamW on augmented images ({fine_tune.augmentation})."
        if tuned
        else ""
    )
    tried = evidence.table("balance/strategies", "strategy")["strategy"]
    plan = f"{balance.strategy} ({balancing.DESCRIPTIONS.get(balance.strategy, 'the best on the validation folds')})"
    return {
        25: Answer(
            f"Against the imbalance: {plan}, one of {len(tried)} strategies compared. The heads are fitted with Adam "
            f"until {head.patience} epochs bring nothing.{further} Every seed is set.",
            places=(
                evidence.section(page, "Training"),
                evidence.section("02_balance", "The strategies compared"),
                evidence.file("params.yaml", "train"),
                evidence.file("params.yaml", "models"),
            ),
        ),
        26: Answer(
            "Of each training, the epoch with the best balanced accuracy on the validation fold. “Best single model” "
            "is a name given to one model afterwards, for its score out of fold, which flatters it a little."
            + _picked(evidence, leaders),
            places=(
                evidence.section(page, "Learning curves"),
                evidence.section("04_compare", "The scores"),
            ),
        ),
        27: _ensembles(evidence, leaders),
    }


def _picked(evidence: Evidence, leaders: Leaders) -> str:
    """What the best model scores if each fold picks it on its validation images, as a sentence; empty without one."""
    if not leaders.has_ensemble:
        return ""
    row = evidence.table("compare/ensembles", "balanced_accuracy", way="best_single").iloc[0]
    return f" Picked on the validation images of each fold, the best has {estimate(row, 'balanced_accuracy')}."


def _ensembles(evidence: Evidence, leaders: Leaders) -> Answer:
    """Item 27."""
    if not leaders.has_ensemble:
        return Answer("The answers of several models are not combined in this run.", applies=False)
    row, stacked = leaders.row(ENSEMBLE), leaders.row(STACKED)
    ways = evidence.table("compare/ensembles", "way")["way"]
    return Answer(
        f"The ensemble is the {row['training']}, of their probabilities scaled by temperature: balanced accuracy "
        f"{estimate(row, 'balanced_accuracy')}. A regression stacked on the same models has "
        f"{estimate(stacked, 'balanced_accuracy')}. {plural(len(ways), 'way')} to combine them are compared.",
        places=(evidence.section("04_compare", "Which ensemble"), evidence.file("params.yaml", "compare")),
    )


def _evaluation(evidence: Evidence, leaders: Leaders) -> dict[int, Answer]:
    """Items 28 to 34."""
    compare = evidence.parameters.compare
    differences = evidence.table("compare/differences", "p_holm")["p_holm"]
    apart = int((differences < 1 - compare.confidence).sum())
    best = leaders.row(leaders.single)
    images = evidence.table("compare/classes", "images", model=leaders.single)["images"]
    folds = evidence.table("compare/folds", "balanced_accuracy", model=leaders.single)
    scores = evidence.section("04_compare", "The scores")
    return {
        28: Answer(
            f"Balanced accuracy leads, because one class has {percent(images.max() / images.sum())} of the images. "
            "Beside it: accuracy, F1, areas under curves, recall, specificity and precision by class, calibration, and "
            "sensitivity and specificity at thresholds chosen on validation images.",
            places=(evidence.section("04_compare", "Why balanced accuracy leads"), scores),
        ),
        29: Answer(
            f"{percent(compare.confidence)} intervals from {plural(compare.resamples, 'bootstrap resample')} of "
            f"lesions, the same for all models. Of {plural(len(differences), 'pair')} of models and ensembles, "
            f"{apart:,} differ in balanced accuracy after Holm's correction (p < {1 - compare.confidence:.2g}, "
            f"{compare.test_resamples:,} resamples).",
            places=(
                evidence.section("04_compare", "How sure"),
                evidence.section("04_compare", "Which differences are real"),
            ),
        ),
        30: _robustness(evidence),
        31: _explanations(evidence),
        32: Answer(
            f"All {plural(evidence.record['data']['images'], 'image')} are tested out of fold, each by a network that "
            f"saw no image of its lesion. {leaders.single}: balanced accuracy {estimate(best, 'balanced_accuracy')}; "
            f"by fold {number(folds['balanced_accuracy'].min())} to {number(folds['balanced_accuracy'].max())}.",
            places=(scores, evidence.section(f"03_train_{leaders.single}", "On lesions never seen")),
        ),
        33: _external(evidence, leaders),
        34: Answer(lacks="No protocol was registered before the results were known. It is not a clinical trial."),
    }


def _robustness(evidence: Evidence) -> Answer:
    """Item 30."""
    groups = evidence.table("compare/groups", "attribute")
    groups = groups[groups["attribute"] != ALL]
    tried = evidence.table("balance/strategies", "strategy")
    changes = {
        part: evidence.table("leakage/changes", "change", part=part, metric="balanced_accuracy")["change"].max()
        for part in ("all", "exposed")
    }
    return Answer(
        f"{plural(len(groups), 'group')} by sex, age, site and confirmation; "
        f"{plural(len(tried), 'strategy', 'strategies')} against the imbalance; random weights in the place of "
        "ImageNet's; and training with images of tested lesions, which adds up to "
        f"{number(100 * changes['all'], 1)} points of balanced accuracy over all of them, and "
        f"{number(100 * changes['exposed'], 1)} over those of these lesions.",
        "Blur, noise, hair and other cameras were not tried, nor was training repeated with other seeds.",
        (
            evidence.section("04_compare", "Groups of patients and images"),
            evidence.section("02_balance", "The strategies compared"),
            evidence.section("06_leakage", "The experiment"),
        ),
    )


def _explanations(evidence: Evidence) -> Answer:
    """Item 31."""
    cases = evidence.table("explain/cases", "image_id")
    last = evidence.table("explain/sanity", "step", "images", "spearman").sort_values("step").iloc[-1]
    return Answer(
        f"Grad-CAM on {plural(cases['image_id'].nunique(), 'picture')} chosen by rule. Put to the test on "
        f"{plural(int(last['images']), 'picture')}: with all weights random, a map's rank correlation with that of the "
        f"trained network is {estimate(last, 'spearman', 2)}.",
        "Without outlines of the lesions, how much of the heat lies on them is not measured.",
        (
            evidence.section("05_explain", "Grad-CAM"),
            evidence.section("05_explain", "Do the maps depend on what was learned?"),
        ),
    )


def _external(evidence: Evidence, leaders: Leaders) -> Answer:
    """Item 33."""
    external = evidence.record["external"]
    if not external:
        return Answer(lacks="No external set was scored in this run (params.yaml, data.external).")
    against = evidence.table("external/against", "model", "external").set_index("model")
    scores = [
        f"{estimate(against.loc[name], 'external')} for {leaders.title(name)}"
        for name in leaders.names
        if name in against.index
    ]
    return Answer(
        f"{external['name']}, {plural(external['images'], 'image')}, which no choice used. Balanced "
        f"accuracy: {listed(scores)}.",
        "Most of its images are from the same two clinics as HAM10000; no other clinic was tested.",
        (
            evidence.section("07_external", "What is external about it"),
            evidence.section("07_external", "Out of fold and outside"),
        ),
    )


def _results(evidence: Evidence, leaders: Leaders) -> dict[int, Answer]:
    """Items 35 to 39."""
    data = evidence.record["data"]
    classes = evidence.table("compare/classes", "dx", "recall", model=leaders.single)
    worst, easiest = (classes.loc[classes["recall"].agg(end)] for end in ("idxmin", "idxmax"))
    scored = [
        f"{leaders.title(name)}: balanced accuracy {estimate(leaders.row(name), 'balanced_accuracy')}, "
        f"macro AUC {estimate(leaders.row(name), 'macro_auc')}"
        for name in leaders.names
    ]
    return {
        35: Answer(
            f"{plural(data['images'], 'image')} of {plural(data['lesions'], 'lesion')} went in, as published.",
            "Patients cannot be counted, because the data do not number them.",
            (evidence.section("01_explore", "How many of each"),),
        ),
        36: Answer(
            "Classes by fold; age, sex, site and confirmation by class over all images.",
            "Age, sex and site are not given by fold. Skin tone is not recorded at all.",
            (evidence.section("02_balance", "The folds"), evidence.section("01_explore", "Age, sex and site")),
        ),
        37: Answer(
            f"For {'; for '.join(scored)}. Recall by class of {leaders.single}: from {estimate(worst, 'recall')} "
            f"({worst['dx']}) to {estimate(easiest, 'recall')} ({easiest['dx']}).",
            places=(
                evidence.section("04_compare", "The scores"),
                evidence.section("04_compare", "Class by class"),
                evidence.section("model_card", "Quantitative analyses"),
            ),
        ),
        38: _diagnostic(evidence, leaders),
        39: _mistakes(evidence, leaders),
    }


def _diagnostic(evidence: Evidence, leaders: Leaders) -> Answer:
    """Item 38."""
    about = {"model": leaders.last, "task": "melanoma"}
    rates = ("target", "sensitivity", "specificity")
    area = evidence.table("compare/discrimination", "auc", **about).iloc[0]
    at = evidence.table("compare/operating_points", *rates, **about, criterion="specificity").iloc[0]
    return Answer(
        f"Melanoma against the rest, by {leaders.title(leaders.last)}: AUC {estimate(area, 'auc')}; at a specificity "
        f"of {percent(at['target'])} on validation images, sensitivity {estimate(at, 'sensitivity')} and specificity "
        f"{estimate(at, 'specificity')} on test images. The same for malignant against benign.",
        "No human reader saw the same images, so nothing is said about models and dermatologists.",
        (
            evidence.section("04_compare", "Operating points and decisions"),
            evidence.section("model_card", "Quantitative analyses"),
        ),
    )


def _mistakes(evidence: Evidence, leaders: Leaders) -> Answer:
    """Item 39."""
    confusion = evidence.table("compare/confusion", "dx", "predicted", "images", "share", model=leaders.single)
    wrong = confusion[confusion["dx"] != confusion["predicted"]]
    most = wrong.loc[wrong["share"].idxmax()]
    shown = evidence.table("explain/cases", "image_id", case="wrong")["image_id"].nunique()
    return Answer(
        f"{leaders.single} is wrong on {plural(int(wrong['images'].sum()), 'image')}. Of {most['dx']}, "
        f"{percent(most['share'])} are called {most['predicted']}, the largest share that one class loses to another. "
        f"{plural(shown, 'confident mistake')} {'is' if shown == 1 else 'are'} shown with heat maps.",
        "No dermatologist has looked at the mistakes.",
        (
            evidence.section("04_compare", "What is mistaken for what"),
            evidence.section("05_explain", "Most confident and wrong"),
        ),
    )


def _discussion(evidence: Evidence, leaders: Leaders) -> dict[int, Answer]:
    """Items 40 and 41."""
    return {
        40: Answer(
            "Limits of the data, of the labels, of the pictures' size and of each method, each where it matters.",
            places=(
                evidence.file("README.md", "Limits"),
                evidence.section("model_card", "Caveats and recommendations"),
                evidence.section("05_explain", "What these maps do not say"),
                evidence.section("06_leakage", "What this does not measure"),
            ),
        ),
        41: Answer(
            "For research only; the model card says what the models are not for. Net benefit is shown over threshold "
            "probabilities, for the shares of classes in these data.",
            "Clinical utility was not studied: no doctor used the models, and no patient's outcome is known.",
            (
                evidence.section("model_card", "Intended use"),
                evidence.section("04_compare", "Operating points and decisions"),
            ),
        ),
    }


def _other(evidence: Evidence, leaders: Leaders) -> dict[int, Answer]:
    """Items 42 to 44."""
    code = evidence.record["code"]
    lacks = ""
    if not code["commit"]:
        lacks = "The code of this run is not under version control."
    elif code["uncommitted_changes"]:
        lacks = "The code of this run differs from its commit."
    origin = "drawn by the code itself" if evidence.is_sample else "on Harvard Dataverse (CC BY-NC 4.0)"
    version = f" The code is that of commit {code['commit'][:12]}." if code["commit"] else ""
    return {
        42: Answer(
            f"Every setting is in params.yaml and every step in dvc.yaml.{version}",
            lacks,
            (
                evidence.file("params.yaml"),
                evidence.file("dvc.yaml"),
                evidence.section("index", "Where the numbers come from"),
            ),
        ),
        43: Answer(
            "The code is under the MIT licence. The logits of every image by every network are published, and every "
            f"table of the comparison, and of an external set, can be recomputed from them. The images are {origin}.",
            "Trained weights are not published; “make report” trains them.",
            (
                evidence.section("index", "Check it, run it again, change it"),
                evidence.file("LICENSE"),
                evidence.file("README.md", "Run it"),
            ),
        ),
        44: Answer(lacks="Nothing is stated about funding."),
    }


_ANSWERED: tuple[Callable[[Evidence, Leaders], dict[int, Answer]], ...] = (
    _title_and_introduction,
    _design,
    _data,
    _reference_standard,
    _partitions,
    _model,
    _training,
    _evaluation,
    _results,
    _discussion,
    _other,
)
