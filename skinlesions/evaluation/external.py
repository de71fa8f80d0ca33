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

from skinlesions.core import files, paths
from skinlesions.core.classes import CLASSES, class_indices
from skinlesions.data import isic_csv
from skinlesions.evaluation import submission
from skinlesions.evaluation.classification import confusion_table
from skinlesions.evaluation.comparison import DESCRIBED
from skinlesions.evaluation.ensembles import ENSEMBLE

# A class with fewer lesions than this is called small.
SMALL = 10

GROUND_TRUTH = "ground_truth.csv"


@dataclass(frozen=True)
class ExternalSet:
    """The external images, their diagnoses (image_id, lesion_id, dx; one row per image) and what source.json says."""

    folder: Path
    table: pd.DataFrame
    source: dict[str, Any]

    @property
    def labels(self) -> np.ndarray:
        """The true class of every image, int64 [N], positions in CLASSES."""
        return class_indices(self.table["dx"]).to_numpy()


def read(folder: Path = paths.EXTERNAL_RAW) -> ExternalSet | None:
    """The set that the stage external_data left in `folder`; None if none was asked for."""
    source = files.read_json(folder / "source.json")
    if not source["images"]:
        return None
    return ExternalSet(folder, pd.read_csv(folder / "metadata.csv", dtype=str, keep_default_na=False), source)


def opening(chosen: ExternalSet | None) -> str:
    """What is scored, in words, or how to have something scored."""
    if chosen is None:
        return (
            "**No external set was asked for, so there is nothing below but the questions.** Name one under "
            "`data.external` in params.yaml (a zip file or folder of images, and a CSV file with their diagnoses) and "
            "run `make report`; no model is trained again."
        )
    counts = chosen.table["dx"].value_counts()
    listed = ", ".join(f"{counts.get(dx, 0):,} {dx}" for dx in CLASSES)
    return (
        f"**{chosen.source['name']}: {chosen.source['images']:,} images of {chosen.source['lesions']:,} lesions** "
        f"({listed}). Source: {chosen.source['origin']}. None of them is in HAM10000 by name or content, and no lesion "
        "by its identifier; whether one lesion was photographed for both under two identifiers was not looked for. "
        f"{chosen.source['note']}"
    )


def tables(
    predictions: Path,
    folds: pd.DataFrame,
    out_of_fold: pd.DataFrame,
    *,
    confidence: float,
    resamples: int,
    seed: int,
    method: str = submission.METHOD,
) -> dict[str, pd.DataFrame]:
    """Everything that notebook 07 tabulates; models in the order of their out-of-fold results.

    Each table repeats how its models were trained and from which weights: the columns comparison.DESCRIBED.

    - scores: model, and what skinlesions.evaluation.submission.score gives.
    - against: per model the balanced accuracy out of fold and on the external set, with intervals, the mean of its
      single networks on the external set, and the difference (external less out of fold) with its interval.
    - recalls: per model and class, with Wilson intervals. confusion: per model, true and predicted class.
    - folds: per model and network.

    Args:
        predictions: the folder that `predict` filled.
        folds: what `predict` returned.
        out_of_fold: the table `comparison` of notebook 04; its rows without external predictions are passed over.
        confidence: of the intervals, and of those in `out_of_fold`.
        resamples: of the bootstrap.
        seed: of the resampling.
        method: of the bootstrap intervals, one of intervals.METHODS.
    """
    truth = isic_csv.read_ground_truth(predictions / GROUND_TRUTH).sort_values("image", ignore_index=True)
    own, labels, groups = {}, isic_csv.labels(truth), truth["lesion_id"].to_numpy(dtype=str)
    for name in out_of_fold["model"][out_of_fold["model"].isin({*folds["model"], ENSEMBLE})]:
        path = predictions / f"{name}.csv"
        matched = isic_csv.match(isic_csv.read(path), truth, path.name, GROUND_TRUTH)
        own[name] = isic_csv.probabilities(matched)
    settings = {"confidence": confidence, "resamples": resamples, "seed": seed, "method": method}
    scores = {name: submission.score(labels, values, groups, **settings) for name, values in own.items()}
    recalls = pd.concat([_recalls(name, truth, own[name].argmax(axis=1), confidence) for name in own])
    results = {
        "scores": pd.concat([table.assign(model=name) for name, table in scores.items()])[
            ["model", "metric", "class", "estimate", "low", "high"]
        ],
        "against": _against(out_of_fold.set_index("model").loc[list(own)], scores, recalls, folds),
        "recalls": recalls,
        "confusion": pd.concat([confusion_table(name, labels, own[name].argmax(axis=1)) for name in own]),
        "folds": folds,
    }
    return {name: _described(table, out_of_fold) for name, table in results.items()}


def _described(table: pd.DataFrame, out_of_fold: pd.DataFrame) -> pd.DataFrame:
    """`table` with how each of its models was trained and from which weights, right behind the model's name."""
    known, position = out_of_fold.set_index("model"), table.columns.get_loc("model") + 1
    described = table.copy()
    for key in reversed(DESCRIBED):
        described.insert(position, key, table["model"].map(known[key]))
    return described


def _recalls(model: str, truth: pd.DataFrame, predicted: np.ndarray, confidence: float) -> pd.DataFrame:
    """The recall of every class that occurs: model, dx, images, lesions, recall, low, high."""
    rows = []
    for position, dx in enumerate(CLASSES):
        of_class = (truth["dx"] == dx).to_numpy()
        if of_class.any():
            lesions, recall = truth["lesion_id"][of_class].nunique(), (predicted[of_class] == position).mean()
            rows.append((model, dx, of_class.sum(), lesions, recall, *wilson(recall, lesions, confidence)))
    return pd.DataFrame(rows, columns=["model", "dx", "images", "lesions", "recall", "low", "high"])


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


def _against(
    out_of_fold: pd.DataFrame, scores: dict[str, pd.DataFrame], recalls: pd.DataFrame, folds: pd.DataFrame
) -> pd.DataFrame:
    """Out-of-fold and external balanced accuracy side by side."""
    rows = []
    for name, inside in out_of_fold.iterrows():
        outside = scores[name].set_index("metric").loc["balanced_accuracy", "estimate"]
        own = recalls[recalls["model"] == name]
        low, high = mean_interval(own["recall"], own["low"], own["high"])
        before = (inside["balanced_accuracy_low"], inside["balanced_accuracy_high"])
        difference = difference_interval(outside, (low, high), inside["balanced_accuracy"], before)
        rows.append(
            {
                "model": name,
                "out_of_fold": inside["balanced_accuracy"],
                "out_of_fold_low": before[0],
                "out_of_fold_high": before[1],
                "external": outside,
                "external_low": low,
                "external_high": high,
                "single_networks": folds.loc[folds["model"] == name, "balanced_accuracy"].mean(),
                "difference": outside - inside["balanced_accuracy"],
                "difference_low": difference[0],
                "difference_high": difference[1],
            }
        )
    return pd.DataFrame(rows)


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


def readable(against: pd.DataFrame) -> pd.DataFrame:
    """The table `against` as text, a row per model, beside how it was trained."""
    forms = {"out_of_fold": ".3f", "external": ".3f", "difference": "+.3f"}
    columns = {
        name.replace("_", " "): _with_interval(against[[name, f"{name}_low", f"{name}_high"]], form)
        for name, form in forms.items()
    }
    single = ["–" if np.isnan(value) else f"{value:.3f}" for value in against["single_networks"]]
    text = pd.DataFrame(columns | {"external, single networks": single}, index=against["model"])
    return _descriptions(against).join(text)


def readable_recalls(recalls: pd.DataFrame) -> pd.DataFrame:
    """The table `recalls` as text, a row per model with how it was trained, and a column per class."""
    text = recalls.assign(text=_with_interval(recalls[["recall", "low", "high"]], ".2f"))
    counts = recalls.drop_duplicates("dx").set_index("dx")["images"]
    wide = text.pivot(index="model", columns="dx", values="text")
    return _descriptions(recalls).join(wide.rename(columns={dx: f"{dx} ({count:,})" for dx, count in counts.items()}))


def _with_interval(values: pd.DataFrame, form: str = ".3f") -> list[str]:
    """The columns estimate, low and high of `values` as text, numbers in the given form."""
    dash, space = "\N{WORD JOINER}–\N{WORD JOINER}", "\N{NO-BREAK SPACE}"
    between = f"{space}to{space}" if form.startswith("+") else dash
    return [
        f"{value:{form}}{space}({low:{form}}{between}{high:{form}})"
        for value, low, high in values.itertuples(index=False)
    ]


def small_classes(recalls: pd.DataFrame) -> str:
    """Which classes are too small to say much, in words, and what one image of each is worth."""
    counts = recalls.drop_duplicates("dx").set_index("dx")["lesions"]
    absent = [dx for dx in CLASSES if dx not in counts]
    parts = [f"No image is of {', '.join(absent)}: the mean runs over the other classes."] if absent else []
    small = counts[counts < SMALL].sort_values(kind="stable")
    if len(small):
        worth = "; ".join(
            f"`{dx}` has {count}, so that one answer moves it by {100 / count / len(counts):.1f} points"
            for dx, count in small.items()
        )
        parts.append(
            f"Balanced accuracy is the mean of {len(counts)} recalls, however few lesions each rests on: {worth}."
        )
    return " ".join(parts) or f"Every class has at least {SMALL} lesions."


def _named(row: pd.Series) -> str:
    """The model of `row` with how it was trained and from which weights, as far as that is known."""
    known = [row[key] for key in DESCRIBED if row[key] != "–"]
    return f"{row['model']} ({', '.join(known)})" if known else row["model"]


def found(against: pd.DataFrame, confidence: float) -> str:
    """What the comparison of out-of-fold and external results says, in words."""
    best, differs = against.iloc[0], against[(against["difference_low"] > 0) | (against["difference_high"] < 0)]
    lower, mean = int((against["difference"] < 0).sum()), 100 * against["difference"].mean()
    reach = (against["external_high"] - against["external_low"]).mean() / 2
    parts = [
        f"Of those scored here, the leader out of fold, {_named(best)}, has a balanced accuracy of "
        f"**{best['external']:.3f}** ({best['external_low']:.3f}–{best['external_high']:.3f}) on the external set, "
        f"and had {best['out_of_fold']:.3f} ({best['out_of_fold_low']:.3f}–{best['out_of_fold_high']:.3f}) out of "
        "fold.",
        f"Of {len(against)} models (the ensemble counts as one), {lower} score lower on the external set than out of "
        "fold; the mean difference is "
        f"{abs(mean):.1f} points {'down' if mean < 0 else 'up'}.",
    ]
    names = f"{len(differs)}: {', '.join(_named(row) for _, row in differs.iterrows())}" if len(differs) else "none"
    parts.append(f"The {100 * confidence:g} % interval of the difference excludes zero for {names}.")
    if len(against) > 2 and against[["external", "out_of_fold"]].nunique().min() > 1:
        ranks = against["external"].corr(against["out_of_fold"], method="spearman")
        parts.append(f"The two rankings agree to a rank correlation of {ranks:.2f}.")
    parts.append(
        f"The external intervals reach ±{100 * reach:.0f} points on average: a check for a gross error of the "
        "protocol, such as a leak, and not a second ranking."
    )
    return " ".join(parts)
