"""The trained models on the external test set, which took no part in any choice.

Every table follows from one file of probabilities per model, from the diagnoses, and from the out-of-fold results that
notebook 04 has; `skinlesions evaluate` recomputes the scores from the same files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from skinlesions.core import config, files, paths
from skinlesions.core.classes import CLASSES, class_indices
from skinlesions.core.errors import UserError
from skinlesions.core.names import DESCRIBED, ENSEMBLE, OUT_OF_SCOPE_COLUMNS, TAKEN_OUT_COLUMNS
from skinlesions.core.parallel import computed
from skinlesions.data import isic_csv
from skinlesions.evaluation import submission
from skinlesions.evaluation.bootstrap import Resampling, lesion_resamples
from skinlesions.evaluation.classification import confusion_table

# A class with fewer lesions than this is called small.
SMALL = 10

GROUND_TRUTH = "ground_truth.csv"
# Of images with a diagnosis that is none of the seven: what they are, and after a model's name its answers.
OUT_OF_SCOPE = "out_of_scope.csv"


@dataclass(frozen=True)
class ExternalSet:
    """An external set.

    Attributes:
        folder: with the images.
        table: image_id, lesion_id and dx of every image that is scored.
        source: what source.json says.
        out_of_scope: image_id, lesion_id and diagnosis of every image that is none of the seven classes.
        taken_out: TAKEN_OUT_COLUMNS of the images that HAM10000 has; not in `folder`.
    """

    folder: Path
    table: pd.DataFrame
    source: dict[str, Any]
    out_of_scope: pd.DataFrame
    taken_out: pd.DataFrame

    @property
    def labels(self) -> np.ndarray:
        """The true class of every image, int64 [N], positions in CLASSES."""
        return class_indices(self.table["dx"]).to_numpy()


def read(folder: Path = paths.EXTERNAL_RAW) -> ExternalSet | None:
    """The set that the stage external_data left in `folder`; None if none was asked for."""
    source = files.read_json(folder / "source.json")
    if not source["images"]:
        return None

    def table(name: str, columns: tuple[str, ...]) -> pd.DataFrame:
        path = folder / name
        if not path.exists():
            return pd.DataFrame(columns=list(columns), dtype=str)
        return pd.read_csv(path, dtype=str, keep_default_na=False)

    return ExternalSet(
        folder,
        table("metadata.csv", ("image_id", "lesion_id", "dx")),
        source,
        table(OUT_OF_SCOPE, OUT_OF_SCOPE_COLUMNS),
        table("taken_out.csv", TAKEN_OUT_COLUMNS),
    )


@dataclass(frozen=True)
class Scored:
    """What the models say of the external images.

    Attributes:
        truth: image, lesion_id and dx of every image.
        labels: int [N], positions in CLASSES.
        probabilities: by model, in the order of their out-of-fold results, float64 [N, 7].
        out_of_fold: the table `comparison` of notebook 04.
        diagnoses: of the M images that are none of the seven classes.
        foreign: by model, its probabilities for these, float64 [M, 7].
    """

    truth: pd.DataFrame
    labels: np.ndarray
    probabilities: dict[str, np.ndarray]
    out_of_fold: pd.DataFrame
    diagnoses: pd.Series
    foreign: dict[str, np.ndarray]


def read_scored(predictions: Path, folds: pd.DataFrame, out_of_fold: pd.DataFrame) -> Scored:
    """The predictions of the external images in the folder `predictions`; the arguments are those of `tables`.

    Raises:
        UserError: a file breaks its format, or lacks an image.
    """
    truth = isic_csv.read_ground_truth(predictions / GROUND_TRUTH).sort_values("image", ignore_index=True)
    foreign = _foreign(predictions / OUT_OF_SCOPE)
    own, answers = {}, {}
    for name in out_of_fold["model"][out_of_fold["model"].isin({*folds["model"], ENSEMBLE})]:
        path = predictions / f"{name}.csv"
        own[name] = isic_csv.probabilities(isic_csv.match(isic_csv.read(path), truth, path.name, GROUND_TRUTH))
        if len(foreign):
            path = predictions / foreign_file(name)
            answers[name] = isic_csv.probabilities(
                isic_csv.match(isic_csv.read(path), foreign, path.name, OUT_OF_SCOPE)
            )
    return Scored(truth, class_indices(truth["dx"]).to_numpy(), own, out_of_fold, foreign["diagnosis"], answers)


def foreign_file(model: str) -> str:
    """The name of the file with the answers of `model` to images that are none of the seven classes."""
    return f"{model}.{OUT_OF_SCOPE}"


def _foreign(path: Path) -> pd.DataFrame:
    """The images in `path` that are none of the seven classes: image, line, diagnosis, sorted; none if it is absent.

    Raises:
        UserError: the file breaks the format, or is absent though there are answers.
    """
    if not path.exists():
        if answers := sorted(path.parent.glob(foreign_file("*"))):
            raise UserError(
                f"{paths.relative(path)} does not exist, though {answers[0].name} does; restore it from Git"
            )
        return pd.DataFrame(columns=["image", "line", "diagnosis"])
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)[list(OUT_OF_SCOPE_COLUMNS)]
    except (ValueError, KeyError) as error:
        raise UserError(f"{paths.relative(path)} cannot be read ({error}); restore it from Git") from None
    table = table.rename(columns={"image_id": "image"}).assign(line=range(2, len(table) + 2))
    return table[["image", "line", "diagnosis"]].sort_values("image", ignore_index=True)


def tables(
    predictions: Path, folds: pd.DataFrame, out_of_fold: pd.DataFrame, settings: config.Compare | Resampling
) -> dict[str, pd.DataFrame]:
    """Everything that notebook 07 tabulates; models in the order of their out-of-fold results.

    Each table repeats how its models were trained and from which weights: the columns comparison.DESCRIBED.

    Args:
        predictions: the folder that `predict` filled.
        folds: what `predict` returned.
        out_of_fold: the table `comparison` of notebook 04; its rows without external predictions are passed over.
        settings: how scores get their intervals; the confidence is that of `out_of_fold` too.
    """
    scored = read_scored(predictions, folds, out_of_fold)
    overall, by_class = scores(scored, settings), recalls(scored, settings.confidence)
    return {
        "scores": overall,
        "against": against(out_of_fold, overall, by_class, folds),
        "recalls": by_class,
        "confusion": confusion(scored),
        "folds": described(folds, out_of_fold),
    } | ({"out_of_scope": out_of_scope(scored)} if scored.foreign else {})


def scores(scored: Scored, settings: config.Compare | Resampling) -> pd.DataFrame:
    """What submission.score gives for every model: model, DESCRIBED, metric, class, estimate, low, high."""
    groups = scored.truth["lesion_id"].to_numpy(dtype=str)

    weights = lesion_resamples(groups, scored.labels, settings.resamples, settings.seed)

    def score(values: np.ndarray) -> pd.DataFrame:
        """The scores of probabilities."""
        return submission.resampled(
            scored.labels, values, groups, weights, settings.confidence, settings.interval_method
        )

    parts = dict(zip(scored.probabilities, computed(score, scored.probabilities.values()), strict=True))
    table = pd.concat([own.assign(model=name) for name, own in parts.items()])[
        ["model", "metric", "class", "estimate", "low", "high"]
    ]
    return described(table, scored.out_of_fold)


def confusion(scored: Scored) -> pd.DataFrame:
    """What the images of each class are called by every model: classification.confusion_table, with DESCRIBED."""
    parts = [confusion_table(name, scored.labels, own.argmax(axis=1)) for name, own in scored.probabilities.items()]
    return described(pd.concat(parts), scored.out_of_fold)


def recalls(scored: Scored, confidence: float) -> pd.DataFrame:
    """The recall of every class that occurs: model, DESCRIBED, dx, images, lesions, recall, low, high (Wilson's)."""
    rows = []
    for model, own in scored.probabilities.items():
        predicted = own.argmax(axis=1)
        for position, dx in enumerate(CLASSES):
            of_class = (scored.truth["dx"] == dx).to_numpy()
            if of_class.any():
                lesions = scored.truth["lesion_id"][of_class].nunique()
                recall = (predicted[of_class] == position).mean()
                rows.append((model, dx, of_class.sum(), lesions, recall, *wilson(recall, lesions, confidence)))
    table = pd.DataFrame(rows, columns=["model", "dx", "images", "lesions", "recall", "low", "high"])
    return described(table, scored.out_of_fold)


def out_of_scope(scored: Scored) -> pd.DataFrame:
    """How often, and how surely, an image that is none of the seven classes gets each of the seven answers.

    Returns:
        model, DESCRIBED, diagnosis (empty: the images that are one of the seven, to compare with), predicted (empty:
        any answer), images, share (of the images of the diagnosis), probability (the mean of that of the answer).
    """
    rows = []
    for model, foreign in scored.foreign.items():
        own = scored.probabilities[model]
        rows.append((model, "", "", len(own), 1.0, own.max(axis=1).mean()))
        for diagnosis in sorted(set(scored.diagnoses)):
            of_diagnosis = foreign[(scored.diagnoses == diagnosis).to_numpy()]
            highest, answers = of_diagnosis.max(axis=1), of_diagnosis.argmax(axis=1)
            rows.append((model, diagnosis, "", len(of_diagnosis), 1.0, highest.mean()))
            for position, dx in enumerate(CLASSES):
                chosen = answers == position
                if chosen.any():
                    rows.append((model, diagnosis, dx, chosen.sum(), chosen.mean(), highest[chosen].mean()))
    columns = ["model", "diagnosis", "predicted", "images", "share", "probability"]
    return described(pd.DataFrame(rows, columns=columns), scored.out_of_fold)


def described(table: pd.DataFrame, out_of_fold: pd.DataFrame) -> pd.DataFrame:
    """`table` with how each of its models was trained and from which weights, right behind the model's name."""
    known, position = out_of_fold.set_index("model"), table.columns.get_loc("model") + 1
    described = table.copy()
    for key in reversed(DESCRIBED):
        described.insert(position, key, table["model"].map(known[key]))
    return described


def wilson(share: float, count: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval (low, high) for a share observed in `count` independent cases (JASA 22, 1927).

    It has a width even where a class has one case, or all cases were answered alike, as a bootstrap cannot.
    """
    z = float(norm.ppf((1 + confidence) / 2))
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def mean_interval(values: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> tuple[float, float]:
    """The interval (low, high) of the mean of independent estimates [K] from their intervals: MOVER.

    Each reach of the mean is the root of the sum of the squared reaches (Zou & Donner, Statistics in Medicine 27,
    2008, equations 3 and 4), so it is as lopsided as the intervals that it is made of.
    """
    values = np.asarray(values, dtype=np.float64)
    below, above = (np.sqrt(((values - ends) ** 2).sum()) / len(values) for ends in (lows, highs))
    return float(values.mean() - below), float(values.mean() + above)


def difference_interval(
    value: float, interval: tuple[float, float], other: float, other_interval: tuple[float, float]
) -> tuple[float, float]:
    """The interval (low, high) of `value` less `other`, two independent estimates: MOVER, as in `mean_interval`."""
    difference = value - other
    below = np.hypot(value - interval[0], other_interval[1] - other)
    above = np.hypot(interval[1] - value, other - other_interval[0])
    return float(difference - below), float(difference + above)


def against(
    out_of_fold: pd.DataFrame, scores: pd.DataFrame, recalls: pd.DataFrame, folds: pd.DataFrame
) -> pd.DataFrame:
    """Out-of-fold and external balanced accuracy side by side.

    Args:
        out_of_fold: the table `comparison` of notebook 04.
        scores: what `scores` gives.
        recalls: what `recalls` gives.
        folds: model, fold and balanced_accuracy of the single networks.

    Returns:
        model, DESCRIBED; the balanced accuracy out of fold and on the external set, with intervals, the mean of its
        single networks on the external set, and the difference (external less out of fold) with its interval.
    """
    known = out_of_fold.set_index("model")
    outside = scores[scores["metric"] == "balanced_accuracy"].set_index("model")["estimate"]
    rows = []
    for name, score in outside.items():
        inside, own = known.loc[name], recalls[recalls["model"] == name]
        low, high = mean_interval(own["recall"], own["low"], own["high"])
        before = (inside["balanced_accuracy_low"], inside["balanced_accuracy_high"])
        difference = difference_interval(score, (low, high), inside["balanced_accuracy"], before)
        rows.append(
            {
                "model": name,
                "out_of_fold": inside["balanced_accuracy"],
                "out_of_fold_low": before[0],
                "out_of_fold_high": before[1],
                "external": score,
                "external_low": low,
                "external_high": high,
                "single_networks": folds.loc[folds["model"] == name, "balanced_accuracy"].mean(),
                "difference": score - inside["balanced_accuracy"],
                "difference_low": difference[0],
                "difference_high": difference[1],
            }
        )
    return described(pd.DataFrame(rows), out_of_fold)


def overall(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores over all classes, a row per model: METRIC, METRIC_low, METRIC_high, as comparison.readable takes.

    The columns comparison.DESCRIBED stand before them.
    """
    chosen = scores[scores["class"] == ""]
    wide = chosen.pivot(index="model", columns="metric", values=["estimate", "low", "high"])
    wide.columns = [metric if part == "estimate" else f"{metric}_{part}" for part, metric in wide.columns]
    return _descriptions(chosen).join(wide)


def _descriptions(table: pd.DataFrame) -> pd.DataFrame:
    """The columns comparison.DESCRIBED of every model of `table`, a row per model in the order of the table."""
    return table.drop_duplicates("model").set_index("model")[list(DESCRIBED)]
