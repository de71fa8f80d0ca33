"""Photographs of one piece of skin under two lesion identifiers: found, and confirmed by laying one on the other.

A pair that sits in two folds would be trained on and tested on. Three steps, from cheap to sure:

1. candidates: images whose features resemble each other most. They may be of one lesion: these pairs are known to be
   true, and show how many true pairs the steps after this one recognise;
2. registration: the turn, scale and shift is taken that most matches of keypoints agree on;
3. correlation: one image is laid on the other, and the fine structure of the part that both show is compared.

The last two are in `registration`. Mirrored copies are not sought: a photograph is not mirrored.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy import stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from skinlesions.core import files, lifeline
from skinlesions.core.errors import UserError
from skinlesions.core.progress import Progress
from skinlesions.data import registration

COLUMNS = (
    *("image_id", "other_image_id", "lesion_id", "other_lesion_id", "dx", "other_dx"),
    *("similarity", "inliers", "correlation", "confirmed"),
)

# Shrinkage of the covariance towards its mean variance before the features are whitened. Whitening takes away what all
# images vary in (colour, vignette); shrinkage keeps directions of little variance from drowning the rest in noise.
SHRINKAGE = 0.3

# Images compared with all others at a time: 1,000 × 10,000 similarities are 40 MB.
CHUNK = 1_000


def similar_pairs(features: np.ndarray, neighbours: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of images of which at least one is among the nearest of the other.

    Args:
        features: float [N, D], of any scale; they are centred and whitened.
        neighbours: how many nearest images of every image are taken, those below `least` left out.
        least: cosine similarity, -1 to 1.

    Returns:
        int64 [P, 2], the lower row number first, sorted; and the float64 [P] similarity of every pair.
    """
    white = whitened(features)
    count, taken = len(white), min(neighbours, len(white) - 1)
    found: dict[tuple[int, int], float] = {}
    for start in range(0, count if taken > 0 else 0, CHUNK):
        similarity = white[start : start + CHUNK] @ white.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -np.inf
        nearest = np.argpartition(-similarity, taken - 1, axis=1)[:, :taken]
        values = np.take_along_axis(similarity, nearest, axis=1)
        for row, place in zip(*np.nonzero(values >= least), strict=True):
            pair = sorted((start + int(row), int(nearest[row, place])))
            found[pair[0], pair[1]] = float(values[row, place])
    pairs = sorted(found)
    return np.array(pairs, "int64").reshape(-1, 2), np.array([found[pair] for pair in pairs], "float64")


def whitened(features: np.ndarray) -> np.ndarray:
    """`features` [N, D] centred, their directions scaled to about the same variance, each row of length 1; float32."""
    centred = features.astype("float64") - features.mean(axis=0, dtype="float64")
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    nothing = np.finfo("float32").tiny  # features that are all alike have no direction: they stay zero
    scaled = centred @ (directions / np.sqrt(np.maximum(variances, 0) + SHRINKAGE * variances.mean() + nothing))
    return (scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), nothing)).astype("float32")


def find(
    index: pd.DataFrame,
    features: np.ndarray,
    images: Path,
    *,
    neighbours: int,
    min_similarity: float,
    min_inliers: int,
    min_correlation: float,
) -> pd.DataFrame:
    """Every candidate pair, measured.

    Args:
        index: image_id, lesion_id and dx of every image.
        features: float [N, D], of one backbone; row i of image i.
        images: a .npy file of uint8 [N, S, S, 3].
        neighbours: how many nearest images of every image are candidates.
        min_similarity: the least cosine similarity of the whitened features of a candidate.
        min_inliers: how many matches of keypoints must agree on one registration.
        min_correlation: how alike the fine structures must be once registered.

    Returns:
        COLUMNS, sorted by image_id and other_image_id. Pairs of one lesion are among them: what share of them is
        confirmed tells how many true pairs of several lesions to expect among those that are not.

    Raises:
        UserError: features or images are not as many as the rows of the index.
    """
    count = len(files.read_array(images, memory_map=True))
    for name, rows in (("features", len(features)), ("prepared images", count)):
        if rows != len(index):
            raise UserError(
                f"there are {rows} {name} and {len(index)} rows in the index; they are of different runs: "
                "run `dvc repro split`, which makes what is out of date"
            )
    pairs, similarity = similar_pairs(features, neighbours, min_similarity)
    inliers, correlations = measured(images, pairs, min_inliers)
    first, second = (index.iloc[rows].reset_index(drop=True) for rows in pairs.T)
    table = pd.DataFrame(
        {
            "image_id": first["image_id"],
            "other_image_id": second["image_id"],
            "lesion_id": first["lesion_id"],
            "other_lesion_id": second["lesion_id"],
            "dx": first["dx"],
            "other_dx": second["dx"],
            "similarity": similarity.round(4),
            "inliers": inliers,
            "correlation": correlations.round(4),
        }
    )
    table["confirmed"] = (table["inliers"] >= min_inliers) & (table["correlation"] >= min_correlation)
    return table[list(COLUMNS)].sort_values(["image_id", "other_image_id"], ignore_index=True)


def measured(images: Path, pairs: np.ndarray, min_inliers: int) -> tuple[np.ndarray, np.ndarray]:
    """The inliers, int64 [P], and the correlation, float64 [P], of `pairs`, int64 [P, 2].

    In processes: most of SIFT is Python, which threads would run one at a time.

    Args:
        images: a .npy file of uint8 [N, S, S, 3].
        pairs: row numbers in `images`.
        min_inliers: with fewer the correlation is not computed; it is 0.
    """
    watch = {"initializer": lifeline.end_with_parent, "initargs": (os.getpid(),)}
    pool = Parallel(n_jobs=-1, return_as="generator", **watch)
    rows = np.unique(pairs).tolist()
    known, results = {}, []
    with Progress("keypoints", len(rows), "images") as progress:
        for row, found in zip(rows, pool(delayed(_keypoints_of)(images, row) for row in rows), strict=True):
            known[row] = found
            progress.advance()
    with Progress("registration", len(pairs), "pairs") as progress:
        tasks = (delayed(_compared)(images, pair, [known[row] for row in pair], min_inliers) for pair in pairs.tolist())
        for result in pool(tasks):
            results.append(result)
            progress.advance()
    inliers, correlations = zip(*results, strict=True) if results else ((), ())
    return np.array(inliers, "int64"), np.array(correlations, "float64")


def _keypoints_of(images: Path, row: int) -> registration.Keypoints:
    return registration.keypoints(files.read_rows(images, row, row + 1)[0])


def _compared(
    images: Path, rows: list[int], known: list[registration.Keypoints], min_inliers: int
) -> tuple[int, float]:
    """The inliers and the correlation of a pair of images; the latter is 0 where the inliers are too few."""
    found = registration.register(*known)
    if found is None or found.inliers < min_inliers:
        return (found.inliers if found else 0), 0.0
    first, second = (files.read_rows(images, row, row + 1)[0] for row in rows)
    return found.inliers, registration.correlation(first, second, found.transform)


def across_lesions(table: pd.DataFrame) -> pd.DataFrame:
    """The confirmed pairs of different lesions among those of `find`."""
    return table[table["confirmed"] & (table["lesion_id"] != table["other_lesion_id"])].reset_index(drop=True)


def summary(table: pd.DataFrame) -> dict[str, int | float]:
    """What the search found and how sure that is.

    Args:
        table: that of `find`.

    Returns:
        compared (pairs), different_lesions and confirmed (of those); lesions_joined and groups that they make of them;
        same_lesion (pairs known to be of one lesion) and same_lesion_share (of those, the confirmed ones; NaN without
        any); different_diagnoses (pairs that should show different lesions), wrong (of those, the confirmed ones) and
        one_in (fewer than one in so many of such pairs is confirmed wrongly, 95 % confidence; 1: nothing is known).
    """
    same_lesion, same_dx = table["lesion_id"] == table["other_lesion_id"], table["dx"] == table["other_dx"]
    known, control, found = table[same_lesion], table[~same_lesion & ~same_dx], across_lesions(table)
    links = found[["lesion_id", "other_lesion_id"]].to_numpy(dtype=str)
    names, ends = np.unique(links, return_inverse=True)
    ends = ends.reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (len(names), len(names)))
    groups = connected_components(graph, directed=False)[0] if len(names) else 0
    wrong = int(control["confirmed"].sum())
    bound = stats.beta.ppf(0.95, wrong + 1, len(control) - wrong) if wrong < len(control) else 1.0
    return {
        "compared": len(table),
        "different_lesions": int((~same_lesion).sum()),
        "confirmed": len(found),
        "lesions_joined": len(names),
        "groups": int(groups),
        "same_lesion": len(known),
        "same_lesion_share": float(known["confirmed"].mean()) if len(known) else float("nan"),
        "different_diagnoses": len(control),
        "wrong": wrong,
        "one_in": int(1 / bound),
    }
