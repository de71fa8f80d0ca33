"""The leakage audit: what an image-level split, and a choice made on the test images, add to a score.

HAM10000 shows many lesions on several images. A split by image trains on some of them and tests on the others. The
audit measures what that is worth with an experiment of its own: the test images stay the same, the number of training
images of every class stays the same, and the only thing that changes is whether other images of the tested lesions
("mates") are among those trained on. Comparing two splits whose test images differ would mix the leak with the luck of
the draw.

The classifiers are heads on frozen features, which take seconds. They stand in a row from the one that remembers least
to the one that does nothing but remember; a network that is fine-tuned whole lies somewhere between.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.core.parallel import in_order
from skinlesions.data import splits
from skinlesions.evaluation import operating_points
from skinlesions.evaluation.bootstrap import lesion_resamples, percentile_interval

# The original trains and validates on one split: the first of the sorted file names of each class validate.
ORIGINAL_SHARE = 0.15

# Shares of the tested lesions whose mates are trained on.
DOSES = (0.0, 0.25, 0.5, 0.75, 1.0)

HEADS = {
    "logistic_regression": "logistic regression",
    "weak_penalty": "logistic regression, weak penalty",
    "nearest_neighbour": "nearest neighbour",
}
WEAKER = 100  # how many times weaker the penalty of `weak_penalty` is

ITERATIONS = 500

# The parts of the test images that scores are about.
EXPOSED, UNEXPOSED, ALL = "exposed", "unexposed", "all"
PARTS = (EXPOSED, UNEXPOSED, ALL)

METRICS = ("balanced_accuracy", "macro_auc", "accuracy", *(f"recall_{name}" for name in CLASSES))


# --- the original's split ---------------------------------------------------------------------------------------


def original_validation(index: pd.DataFrame) -> np.ndarray:
    """Whether the original validates on each image, bool [N]: the first 15 % of the sorted file names of each class.

    Args:
        index: image_id and dx of every image.
    """
    rank = index.sort_values("image_id").groupby("dx").cumcount().reindex(index.index)
    count = index.groupby("dx")["image_id"].transform("size")
    return (rank < (ORIGINAL_SHARE * count).astype("int64")).to_numpy()


def shared_lesions(index: pd.DataFrame, validation: np.ndarray) -> pd.DataFrame:
    """How many validation images show a lesion of which another image is trained on.

    Args:
        index: lesion_id and dx of every image.
        validation: bool [N]; all others are trained on.

    Returns:
        dx (each class with validation images, then `all`), images, shared, share.
    """
    trained = index.loc[~validation, "lesion_id"]
    table = index.loc[validation, ["dx"]].assign(shared=index.loc[validation, "lesion_id"].isin(trained))
    rows = [(name, own) for name, own in table.groupby("dx")["shared"]] + [(ALL, table["shared"])]
    return pd.DataFrame(
        [(name, len(own), int(own.sum()), float(own.mean())) for name, own in rows],
        columns=["dx", "images", "shared", "share"],
    )


# --- the experiment ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Images:
    """The images of the audit.

    Attributes:
        features: of a frozen backbone, float32 [N, D].
        labels: int64 [N], positions in CLASSES.
        groups: the lesion of every image, merged over near-duplicates, [N].
    """

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Swap:
    """The training images of one test set, and which of them make room for which mates.

    Attributes:
        clean: without a mate of any test image, int64 [M].
        mates: by class, the mates, those of one lesion after those of another.
        ends: by class, at which of its mates each lesion ends.
        displaced: by class, training images in the order in which they make room, as many as mates.
    """

    clean: np.ndarray
    mates: list[np.ndarray]
    ends: list[np.ndarray]
    displaced: list[np.ndarray]

    def rows(self, dose: float) -> np.ndarray:
        """The training images when the mates of a share `dose` of the lesions are swapped in, int64 [M], ascending.

        The number of images of every class is the same at every dose, and a higher dose swaps in what a lower one
        does, and more.
        """
        kept = np.ones(len(self.clean), dtype=bool)
        injected = []
        for mates, ends, displaced in zip(self.mates, self.ends, self.displaced, strict=True):
            lesions = round(dose * len(ends))
            count = ends[lesions - 1] if lesions else 0
            injected.append(mates[:count])
            kept &= ~np.isin(self.clean, displaced[:count])
        return np.sort(np.concatenate([self.clean[kept], *injected]))


def one_image_per_lesion(groups: np.ndarray, seed: int) -> np.ndarray:
    """One image of every lesion, drawn at random, bool [N], from the lesions, [N]."""
    order = np.random.default_rng(seed).permutation(len(groups))
    _, first = np.unique(np.asarray(groups)[order], return_index=True)
    chosen = np.zeros(len(groups), dtype=bool)
    chosen[order[first]] = True
    return chosen


def swap(images: Images, mates: np.ndarray, clean: np.ndarray, seed: int | Sequence[int]) -> Swap:
    """A random order in which the lesions of `mates` come in and images of the same class make room.

    Args:
        mates: images of the tested lesions that are not tested, int [K].
        clean: the training images without them, int [M].
        seed: of the two orders.

    Raises:
        UserError: a class has fewer training images than mates.
    """
    generator = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {"mates": [], "ends": [], "displaced": []}
    for label, name in enumerate(CLASSES):
        own, others = mates[images.labels[mates] == label], clean[images.labels[clean] == label]
        if len(own) > len(others):
            raise UserError(
                f"class {name} has {len(own)} mates of tested images and {len(others)} images to make room for them; "
                "the leakage audit needs more images"
            )
        lesions, members = np.unique(images.groups[own], return_inverse=True)
        turn = generator.permutation(len(lesions))[members]
        parts["mates"].append(own[np.argsort(turn, kind="stable")])
        parts["ends"].append(np.cumsum(np.bincount(turn, minlength=len(lesions))))
        parts["displaced"].append(generator.permutation(others)[: len(own)])
    return Swap(clean, **parts)


def predict(head: str, features: np.ndarray, labels: np.ndarray, asked: np.ndarray, strength: float) -> np.ndarray:
    """The probabilities that a head trained on some images gives others, float64 [n, 7].

    Args:
        head: one of HEADS. The logistic regressions are multinomial, with balanced class weights. The nearest
            neighbour answers with the class of the training image whose features have the greatest cosine.
        features: of the training images, standardised, float32 [M, D].
        labels: of the training images, int [M]; those of a class may be absent.
        asked: the features of the others, standardised in the same way, [n, D].
        strength: the inverse of the penalty, scikit-learn's C, of `logistic_regression`.
    """
    if head == "nearest_neighbour":
        lengths = np.linalg.norm(features, axis=1)
        nearest = (asked @ (features / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]).T).argmax(axis=1)
        return np.eye(len(CLASSES))[labels[nearest]]
    if head not in HEADS:
        raise ValueError(f"unknown head {head!r}; known: {', '.join(HEADS)}")
    inverse = strength * (WEAKER if head == "weak_penalty" else 1)
    classifier = LogisticRegression(C=inverse, class_weight="balanced", max_iter=ITERATIONS)
    classifier.fit(features, labels)
    probabilities = np.zeros((len(asked), len(CLASSES)))
    probabilities[:, classifier.classes_] = classifier.predict_proba(asked)
    return probabilities


# By head and dose, the probabilities of the test images in every repeat, float64 [K, T, 7]. Without mates there is
# nothing to draw, and one repeat.
Probabilities = dict[tuple[str, float], np.ndarray]


def swapped_predictions(
    images: Images,
    test: np.ndarray,
    mates: np.ndarray,
    clean: np.ndarray,
    *,
    doses: Sequence[float],
    repeats: int,
    strength: float,
    seed: int | Sequence[int],
) -> Probabilities:
    """Every head trained at every dose and asked about the same test images.

    Features are standardised with the mean and deviation of the clean training images at every dose.

    Args:
        test: the test images, int [T].
        mates: images of their lesions, int [K].
        clean: training images of other lesions, int [M].
        doses: shares of the lesions whose mates are swapped in.
        repeats: how often the order of the swap is drawn anew.
        strength: scikit-learn's C of the logistic regression.
        seed: of the orders.
    """
    scaler = StandardScaler().fit(images.features[clean])
    standardised, asked = scaler.transform(images.features), scaler.transform(images.features[test])
    swaps = [swap(images, mates, clean, [*np.atleast_1d(seed), repeat]) for repeat in range(repeats)]
    found: Probabilities = {}
    for dose in doses:
        for head in HEADS:
            parts = [
                predict(head, standardised[rows], images.labels[rows], asked, strength)
                for rows in (one.rows(dose) for one in (swaps if dose > 0 else swaps[:1]))
            ]
            found[head, dose] = np.stack(parts)
    return found


def inject(
    images: Images, fold: np.ndarray, tested: np.ndarray, *, repeats: int, strength: float, seed: int
) -> Probabilities:
    """The experiment over all folds: `tested` images are asked about, other images of their lesions are injected.

    For fold k the clean training images are those of all other folds. The images of fold k that are not tested are
    the mates, so that every lesion is tested once and the mates of all of them have their turn.

    Args:
        fold: int [N]; a lesion is in one fold.
        tested: bool [N].
        repeats: how often the order of the swap is drawn anew in every fold.
        strength: scikit-learn's C of the logistic regression.
        seed: of the orders.

    Returns:
        The probabilities of the tested images, in the order of their rows.
    """

    def of_fold(number: int) -> Probabilities:
        """The predictions for the tested images of one fold."""
        test, mates = np.flatnonzero(tested & (fold == number)), np.flatnonzero(~tested & (fold == number))
        clean = np.flatnonzero(fold != number)
        options = {"doses": DOSES, "repeats": repeats, "strength": strength, "seed": [seed, number]}
        return swapped_predictions(images, test, mates, clean, **options)

    numbers = range(int(fold.max()) + 1)
    # A fold per thread, each on one processor: the products are too small to gain from being split further, and a
    # second user of the processors would stall them.
    with threadpool_limits(1):
        parts = list(in_order(of_fold, numbers))
    order = np.argsort(np.concatenate([np.flatnonzero(tested & (fold == number)) for number in numbers]))
    return {key: np.concatenate([part[key] for part in parts], axis=1)[:, order] for key in parts[0]}


def exposed(groups: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Whether each tested image has a mate, bool [T]: another image of its lesion that is not tested."""
    return np.isin(np.asarray(groups)[tested], np.asarray(groups)[~tested])


def original_both_ways(
    images: Images, validation: np.ndarray, *, repeats: int, strength: float, seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """The original's validation images scored by heads trained with and without images of their lesions.

    Returns:
        By arm and head, the probabilities of the validation images, float64 [K, T, 7]. The arms: `published`, trained
        on all other images as the original does; `injected` and `clean`, on equally many images of every class, with
        the mates of the validation images or without.
    """
    test, rest = np.flatnonzero(validation), np.flatnonzero(~validation)
    is_mate = np.isin(images.groups[rest], images.groups[test])
    mates, clean = rest[is_mate], rest[~is_mate]
    with threadpool_limits(1):
        swapped = swapped_predictions(
            images, test, mates, clean, doses=(0.0, 1.0), repeats=repeats, strength=strength, seed=seed
        )
        scaler = StandardScaler().fit(images.features[rest])
        trained, asked = scaler.transform(images.features[rest]), scaler.transform(images.features[test])
        published = {head: predict(head, trained, images.labels[rest], asked, strength)[None] for head in HEADS}
    return {
        "published": published,
        "injected": {head: swapped[head, 1.0] for head in HEADS},
        "clean": {head: swapped[head, 0.0] for head in HEADS},
    }


# --- scores and their changes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resampling:
    """How every score gets its interval.

    Attributes:
        confidence: such as 0.95.
        resamples: how many bootstrap resamples of the lesions.
        seed: of the resampling.
    """

    confidence: float
    resamples: int
    seed: int

    def weights(self, groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """How often each image counts, float32 [R + 1, T]; in the first row once, so that it gives the estimate."""
        drawn = lesion_resamples(groups, labels, self.resamples, self.seed)
        return np.vstack([np.ones_like(drawn[:1]), drawn]).astype(np.float32)

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """The interval from `values` [R + 1], the first of which is the estimate."""
        return percentile_interval(values[1:], self.confidence)


def scored(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, metrics: Sequence[str] = METRICS
) -> dict[str, np.ndarray]:
    """Some of METRICS under each weighting, averaged over repeats, float64 [R + 1] each.

    Balanced accuracy and macro AUC run over the classes that occur.

    Args:
        labels: int [T].
        probabilities: of every repeat, float64 [K, T, 7].
        weights: how often each image counts, whole numbers as float32 [R + 1, T].
    """
    parts = [_scored_once(labels, one, weights, metrics) for one in probabilities]
    return {metric: np.mean([part[metric] for part in parts], axis=0) for metric in metrics}


def _scored_once(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, metrics: Sequence[str]
) -> dict[str, np.ndarray]:
    """`scored` for one repeat."""
    truth = np.eye(len(CLASSES), dtype=np.float32)[labels]
    hits = truth * (probabilities.argmax(axis=1) == labels)[:, None]
    # Sums of whole numbers below 2^24, exact in single precision.
    images, hit = (weights @ truth).astype(np.float64), (weights @ hits).astype(np.float64)
    recalls = np.divide(hit, images, out=np.full(hit.shape, np.nan), where=images > 0)
    values = {
        "balanced_accuracy": np.nanmean(recalls, axis=1),
        "accuracy": hit.sum(axis=1) / images.sum(axis=1),
        **{f"recall_{name}": recalls[:, position] for position, name in enumerate(CLASSES)},
    }
    if "macro_auc" in metrics:
        present = [position for position in range(len(CLASSES)) if (labels == position).any()]
        areas = [
            operating_points.resampled(labels == position, probabilities[:, position], weights, ["auc"])["auc"]
            for position in present
        ]
        values["macro_auc"] = np.mean(areas, axis=0) if len(present) > 1 else np.full(len(weights), np.nan)
    return values


def change(
    labels: np.ndarray,
    groups: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    resampling: Resampling,
    metrics: Sequence[str] = METRICS,
) -> pd.DataFrame:
    """The paired change of every metric from one arm to the other on the same images.

    Args:
        labels: int [T].
        groups: the lesion of every image, [T].
        before: the probabilities of one arm, float64 [K, T, 7].
        after: those of the other.

    Returns:
        metric, images (that it rests on), clean, injected, change, low, high; without classes that do not occur.
    """
    weights = resampling.weights(groups, labels)
    clean, injected = (scored(labels, arm, weights, metrics) for arm in (before, after))
    rows = []
    for metric in metrics:
        name = metric.removeprefix("recall_")
        images = int((labels == CLASSES.index(name)).sum()) if name in CLASSES else len(labels)
        if images and not np.isnan(clean[metric][0]):
            difference = injected[metric] - clean[metric]
            rows.append((metric, images, clean[metric][0], injected[metric][0], difference[0]))
            rows[-1] += resampling.interval(difference)
    return pd.DataFrame(rows, columns=["metric", "images", "clean", "injected", "change", "low", "high"])


def injection_tables(
    images: Images, tested: np.ndarray, found: Probabilities, resampling: Resampling
) -> dict[str, pd.DataFrame]:
    """What the experiment of `inject` shows.

    - changes: head, part (one of PARTS), metric, images, clean, injected, change, low, high: from no mates to all.
    - doses: head, part, dose, images, balanced_accuracy, low, high.
    - repeats: head, repeat, change: that of balanced accuracy on the exposed images, repeat by repeat.
    """
    labels, groups = images.labels[tested], images.groups[tested]
    has_mates = exposed(images.groups, tested)
    selected = {EXPOSED: has_mates, UNEXPOSED: ~has_mates, ALL: np.ones_like(has_mates)}
    changes, doses, repeats = [], [], []
    for part, rows in selected.items():
        if not rows.any():
            continue
        weights = resampling.weights(groups[rows], labels[rows])
        for head in HEADS:
            arms = [found[head, dose][:, rows] for dose in (0.0, 1.0)]
            changes.append(change(labels[rows], groups[rows], *arms, resampling).assign(head=head, part=part))
            for dose in DOSES:
                values = scored(labels[rows], found[head, dose][:, rows], weights, ["balanced_accuracy"])
                score = values["balanced_accuracy"]
                doses.append((head, part, dose, int(rows.sum()), score[0], *resampling.interval(score)))
            if part == EXPOSED:
                once = weights[:1]
                before = scored(labels[rows], arms[0], once, ["balanced_accuracy"])["balanced_accuracy"][0]
                for repeat, one in enumerate(arms[1]):
                    after = scored(labels[rows], one[None], once, ["balanced_accuracy"])["balanced_accuracy"][0]
                    repeats.append((head, repeat, after - before))
    columns = ["head", "part", "metric", "images", "clean", "injected", "change", "low", "high"]
    return {
        "changes": pd.concat(changes, ignore_index=True)[columns],
        "doses": pd.DataFrame(doses, columns=["head", "part", "dose", "images", "balanced_accuracy", "low", "high"]),
        "repeats": pd.DataFrame(repeats, columns=["head", "repeat", "change"]),
    }


def original_table(
    images: Images, validation: np.ndarray, arms: dict[str, dict[str, np.ndarray]], resampling: Resampling
) -> pd.DataFrame:
    """The original's split scored both ways: head, part, metric, images, published, clean, injected, change, low, high.

    change, low and high are from clean to injected, which are trained on equally many images.
    """
    labels, groups = images.labels[validation], images.groups[validation]
    has_mates = exposed(images.groups, validation)
    metrics = ("balanced_accuracy", "accuracy", "macro_auc")
    parts = []
    for part, rows in ((EXPOSED, has_mates), (UNEXPOSED, ~has_mates), (ALL, np.ones_like(has_mates))):
        for head in HEADS if rows.any() else ():
            published, clean, injected = (arms[arm][head][:, rows] for arm in ("published", "clean", "injected"))
            table = change(labels[rows], groups[rows], clean, injected, resampling, metrics)
            scores = scored(labels[rows], published, np.ones((1, rows.sum()), dtype=np.float32), metrics)
            table["published"] = [scores[metric][0] for metric in table["metric"]]
            parts.append(table.assign(head=head, part=part))
    columns = ["head", "part", "metric", "images", "published", "clean", "injected", "change", "low", "high"]
    return pd.concat(parts, ignore_index=True)[columns]


# --- a choice made on the test images ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """The small network whose training is a row of checkpoints to choose from.

    Attributes:
        hidden_units: of its one hidden layer.
        learning_rate: of Adam.
        batch_size: images per step.
        epochs: how many checkpoints there are.
    """

    hidden_units: int
    learning_rate: float
    batch_size: int
    epochs: int


def checkpoints(images: Images, fold: np.ndarray, network: Network, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What the network of every fold calls its validation and its test images after every epoch.

    Fold k is the test set, fold k + 1 the validation set, the rest for training; images are weighted so that classes
    count the same.

    Returns:
        Two int8 arrays [E, N], positions in CLASSES: the answers of the network that validates on each image, and of
        the one that is tested on it.
    """
    folds = int(fold.max()) + 1
    validated, tested = np.zeros((2, network.epochs, len(fold)), dtype=np.int8)

    def of_fold(number: int) -> None:
        """Train the network of one fold and note its answers."""
        training, validation, test = splits.roles(fold, number, folds)
        scaler = StandardScaler().fit(images.features[training])
        features, labels = scaler.transform(images.features[training]), images.labels[training]
        asked = scaler.transform(images.features[np.concatenate([validation, test])])
        counts = np.bincount(labels, minlength=len(CLASSES))
        model = MLPClassifier(
            (network.hidden_units,),
            learning_rate_init=network.learning_rate,
            batch_size=min(network.batch_size, len(training)),
            random_state=seed + number,
        )
        for epoch in range(network.epochs):
            weights = (len(labels) / len(CLASSES) / counts[labels]).astype(features.dtype)
            model.partial_fit(features, labels, classes=np.arange(len(CLASSES)), sample_weight=weights)
            answers = model.predict(asked)
            validated[epoch, validation] = answers[: len(validation)]
            tested[epoch, test] = answers[len(validation) :]

    with threadpool_limits(1):
        for _ in in_order(of_fold, range(folds)):
            pass
    return validated, tested


def selection_tables(
    images: Images, fold: np.ndarray, validated: np.ndarray, tested: np.ndarray, resampling: Resampling
) -> dict[str, pd.DataFrame]:
    """What choosing the checkpoint on the test images adds to their score.

    - selection: fold (then `all`), images, epoch and balanced accuracy on the test images when the validation images
      choose (validation_epoch, by_validation) and when the test images do (test_epoch, by_test), change; for `all`,
      which pools the test images of the folds, also low and high. The interval is that of the difference between the
      checkpoints so chosen, on other lesions; it does not choose them anew.
    - epochs: fold, epoch (from 1), validation, test: the balanced accuracies to choose from.

    Args:
        validated: int8 [E, N], as `checkpoints` returns it.
        tested: the same for the test images.
    """
    folds = int(fold.max()) + 1
    by_validation, by_test = np.zeros((2, len(fold)), dtype=np.int64)
    rows, epochs = [], []
    for number in range(folds):
        _, validation, test = splits.roles(fold, number, folds)
        scores = {
            name: np.array([balanced_accuracy(images.labels[own], called[own]) for called in answers])
            for name, own, answers in (("validation", validation, validated), ("test", test, tested))
        }
        first, second = scores["validation"].argmax(), scores["test"].argmax()
        by_validation[test], by_test[test] = tested[first, test], tested[second, test]
        reached = scores["test"][first], scores["test"][second]
        rows.append((str(number), len(test), first + 1, second + 1, *reached, reached[1] - reached[0]))
        epochs.append(pd.DataFrame({"fold": number, "epoch": np.arange(1, len(tested) + 1)} | scores))
    arms = [np.eye(len(CLASSES))[answers][None] for answers in (by_validation, by_test)]
    pooled = change(images.labels, images.groups, *arms, resampling, ["balanced_accuracy"]).iloc[0]
    columns = ["fold", "images", "validation_epoch", "test_epoch", "by_validation", "by_test", "change"]
    table = pd.DataFrame(rows, columns=columns).astype({"validation_epoch": object, "test_epoch": object})
    table[["low", "high"]] = np.nan
    table.loc[len(table)] = [ALL, len(fold), "", "", *pooled[["clean", "injected", "change", "low", "high"]]]
    return {"selection": table, "epochs": pd.concat(epochs, ignore_index=True)}


def balanced_accuracy(labels: np.ndarray, called: np.ndarray) -> float:
    """The mean over the classes that occur of the recall, from the true and the called classes, int [N] each."""
    return float(np.mean([(called[labels == label] == label).mean() for label in np.unique(labels)]))


def examples(labels: np.ndarray, groups: np.ndarray, tested: np.ndarray) -> list[tuple[int, int]]:
    """For each class the row of a tested image and that of a mate of it, the first in the order of the rows."""
    pairs = []
    for label in range(len(CLASSES)):
        for row in np.flatnonzero(tested & (labels == label)):
            mates = np.flatnonzero(~tested & (groups == groups[row]))
            if len(mates):
                pairs.append((int(row), int(mates[0])))
                break
    return pairs
