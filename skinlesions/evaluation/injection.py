"""The injection experiment: heads trained with and without images of the lesions that they are tested on.

The test images stay the same, the number of training images of every class stays the same, and the only thing that
changes is whether other images of the tested lesions ("mates") are among those trained on. Comparing two splits whose
test images differ would mix the leak with the luck of the draw.

The classifiers are heads on frozen features, which take seconds. They stand in a row from the one that remembers least
to the one that does nothing but remember; a network that is fine-tuned whole lies somewhere between.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.core.parallel import in_order

# Shares of the tested lesions whose mates are trained on.
DOSES = (0.0, 0.25, 0.5, 0.75, 1.0)

HEADS = {
    "logistic_regression": "logistic regression",
    "weak_penalty": "logistic regression, weak penalty",
    "nearest_neighbour": "nearest neighbour",
}
WEAKER = 100  # how many times weaker the penalty of `weak_penalty` is

ITERATIONS = 500


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
        return swapped_predictions(
            images, test, mates, clean, doses=DOSES, repeats=repeats, strength=strength, seed=[seed, number]
        )

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
