"""Photographs of one piece of skin under two lesion identifiers: found, and confirmed by laying one on the other.

A pair that sits in two folds would be trained on and tested on. Three steps, from cheap to sure:

1. candidates: images whose features resemble each other most. They may be of one lesion: these pairs are known to be
   true, and show how many true pairs the steps after this one recognise;
2. registration: keypoints (SIFT; Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60, 2004) are
   matched, and the turn, scale and shift is taken that most matches agree on;
3. correlation: one image is laid on the other, and the fine structure of the part that both show is compared.

Mirrored copies are not sought: a photograph is not mirrored.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from PIL import Image
from scipy import ndimage, stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.feature import SIFT, match_descriptors
from skimage.transform import SimilarityTransform, warp

from skinlesions.core import files
from skinlesions.core.errors import UserError
from skinlesions.core.progress import Progress

COLUMNS = (
    "image_id",
    "other_image_id",
    "lesion_id",
    "other_lesion_id",
    "dx",
    "other_dx",
    "similarity",
    "inliers",
    "correlation",
    "confirmed",
)

# Shrinkage of the covariance towards its mean variance before the features are whitened. Whitening takes away what all
# images vary in (colour, vignette); shrinkage keeps directions of little variance from drowning the rest in noise.
SHRINKAGE = 0.3

# Images compared with all others at a time: 1,000 × 10,000 similarities are 40 MB.
CHUNK = 1_000

# Side of the image in which keypoints are sought, in pixels: coarse enough to outlive JPEG and the next camera.
KEYPOINT_SIZE = 160

# Levels of 0-255 added to the contrast of a neighbourhood, so that plain skin is not blown up to structure.
CONTRAST_FLOOR = 5.1

# Best matches of a pair that are tried: of every two of them the similarity is computed.
MATCHES = 80
# How much better a match has to be than the next best: Lowe's ratio, lenient as the geometry decides.
MATCH_RATIO = 0.85
# How far from where the registration puts it a match may lie, in shares of the side.
TOLERANCE = 1 / 60
# Two matches nearer than this share of the side say too little about turn and scale.
BASE_LINE = 1 / 20
# Zoom between two photographs of one lesion, at most.
ZOOM = 3.0

# Least share of the image that both photographs must show to be compared.
LEAST_OVERLAP = 0.1
# Darker than this (0-255) is the rim of the dermatoscope, which all its photographs share.
DARK = 40
# Standard deviations, in shares of the side, between which structures are compared: coarser is "a dark spot in the
# middle", which most lesions share; finer is noise.
FINE, COARSE = 1 / 240, 1 / 40

LUMA = np.array([0.299, 0.587, 0.114], "float32")


@dataclass(frozen=True)
class Keypoints:
    """The keypoints of an image.

    Attributes:
        positions: float64 [K, 2], x and y of pixel centres, in shares of the side of the image.
        descriptors: uint8 [K, 128].
    """

    positions: np.ndarray
    descriptors: np.ndarray


@dataclass(frozen=True)
class Registration:
    """How one image lies on another.

    Attributes:
        transform: from points of the first image to those of the second, in shares of the side.
        inliers: how many matches at different places agree.
    """

    transform: SimilarityTransform
    inliers: int


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


def keypoints(image: np.ndarray) -> Keypoints:
    """The keypoints of `image`, uint8 [S, S, 3]; none in a blank one."""
    # Averaged down without ringing; a smaller image is scaled up smoothly.
    how = Image.Resampling.BOX if len(image) > KEYPOINT_SIZE else Image.Resampling.BICUBIC
    small = Image.fromarray(image).resize((KEYPOINT_SIZE, KEYPOINT_SIZE), how)
    luma = np.asarray(small, "float32") @ LUMA
    # Every neighbourhood brought to the same contrast: light and camera differ between photographs.
    width = KEYPOINT_SIZE / 24
    detail = luma - ndimage.gaussian_filter(luma, width, truncate=3)
    contrast = np.sqrt(ndimage.gaussian_filter(detail**2, width, truncate=3))
    detector = SIFT(upsampling=1)
    try:
        detector.detect_and_extract(0.5 + 0.25 * detail / (contrast + CONTRAST_FLOOR))
    except RuntimeError:  # scikit-image's way to say that there is none
        return Keypoints(np.empty((0, 2)), np.empty((0, 128), "uint8"))
    assert detector.positions is not None and detector.descriptors is not None
    places = (detector.positions[:, ::-1].astype("float64") + 0.5) / KEYPOINT_SIZE
    return Keypoints(places, detector.descriptors.astype("uint8"))


def register(first: Keypoints, second: Keypoints) -> Registration | None:
    """The similarity transform from `first` to `second` that most matches agree on; None if there is none.

    What RANSAC draws at random is small enough here to be tried in full, and in one step: the transform of every two
    matches. The result is the same every time, and better: scikit-image's RANSAC finds 69 to 71 of the 75 pairs that
    this finds in HAM10000, depending on its seed, and takes three times as long.
    """
    if min(len(first.positions), len(second.positions)) < 2:
        return None
    descriptors = first.descriptors.astype("float32"), second.descriptors.astype("float32")
    matches = match_descriptors(*descriptors, max_ratio=MATCH_RATIO)
    distances = np.linalg.norm(descriptors[0][matches[:, 0]] - descriptors[1][matches[:, 1]], axis=1)
    matches = matches[np.argsort(distances, kind="stable")[:MATCHES]]
    starts, ends = first.positions[matches[:, 0]], second.positions[matches[:, 1]]
    # As complex numbers: turned and scaled by `turn`, then shifted.
    start, end = starts @ (1, 1j), ends @ (1, 1j)
    one, two = np.triu_indices(len(matches), 1)
    apart = np.minimum(np.abs(start[one] - start[two]), np.abs(end[one] - end[two])) > BASE_LINE
    one, two = one[apart], two[apart]
    turn = (end[one] - end[two]) / (start[one] - start[two])
    zoomed = np.maximum(np.abs(turn), 1 / np.abs(turn)) < ZOOM
    turn, shift = turn[zoomed, None], (end[one] - turn * start[one])[zoomed, None]
    if len(turn) == 0:
        return None
    # In shares of the side, halfway between the two scales.
    agree = np.abs(turn * start + shift - end) / np.sqrt(np.abs(turn)) < TOLERANCE
    inliers = agree[agree.sum(axis=1).argmax()]
    transform = SimilarityTransform.from_estimate(starts[inliers], ends[inliers])
    if not isinstance(transform, SimilarityTransform):
        return None
    inliers = transform.residuals(starts, ends) / np.sqrt(transform.scale) < TOLERANCE
    return Registration(transform, min(_places(starts[inliers]), _places(ends[inliers])))


def _places(points: np.ndarray) -> int:
    """How many cells of a grid, as wide as the tolerance, have one of `points`: SIFT finds some points twice."""
    return len(np.unique(points // TOLERANCE, axis=0))


def laid_on(second: np.ndarray, transform: SimilarityTransform) -> tuple[np.ndarray, np.ndarray]:
    """`second` as seen from where the first was taken, float32 [S, S, C], and where it shows anything, bool [S, S].

    Args:
        second: uint8 [S, S, C].
        transform: from points of the first image to those of the second, in shares of the side.
    """
    size = len(second)
    shares = SimilarityTransform(scale=1 / size, translation=(0.5 / size, 0.5 / size))  # of pixel numbers
    pixels = shares + transform + shares.inverse
    blur = _magnification_blur(transform.scale)
    blurred = ndimage.gaussian_filter(second.astype("float32"), (blur, blur, 0))
    inside = warp(np.ones((size, size)), pixels, order=0) > 0
    return warp(blurred, pixels, order=1, mode="edge", preserve_range=True), inside


def correlation(first: np.ndarray, second: np.ndarray, transform: SimilarityTransform) -> float:
    """How alike the fine structures of two images are where both show skin, -1 to 1; 0 where they share too little.

    Args:
        first, second: uint8 [S, S, 3].
    """
    size = len(first)
    moved, inside = laid_on(second, transform)
    lumas = [first.astype("float32") @ LUMA, moved @ LUMA]
    seen = inside & (lumas[0] > DARK) & (lumas[1] > DARK)
    seen = ndimage.binary_erosion(seen, iterations=max(1, size // 60))  # clear of the blur at rims and edges
    if seen.mean() < LEAST_OVERLAP:
        return 0.0
    blurs = np.hypot(FINE * size, _magnification_blur(1 / transform.scale)), FINE * size
    weight = ndimage.gaussian_filter(seen.astype("float32"), COARSE * size, truncate=3) + 1e-6
    fine = []
    for luma, blur in zip(lumas, blurs, strict=True):
        coarse = ndimage.gaussian_filter(np.where(seen, luma, 0), COARSE * size, truncate=3) / weight
        structure = (ndimage.gaussian_filter(luma, blur) - coarse)[seen]
        fine.append(structure - structure.mean())
    scale = np.sqrt((fine[0] ** 2).sum() * (fine[1] ** 2).sum())
    return float((fine[0] * fine[1]).sum() / scale) if scale > 0 else 0.0


def _magnification_blur(scale: float) -> float:
    """The standard deviation, in pixels, that makes an image as blurred as one magnified `scale` times less."""
    return 0.5 * np.sqrt(max(scale**2 - 1, 0.0))


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
    inliers, correlations = _measured(images, pairs, min_inliers)
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


def _measured(images: Path, pairs: np.ndarray, min_inliers: int) -> tuple[np.ndarray, np.ndarray]:
    """The inliers, int64 [P], and the correlation, float64 [P], of `pairs`, int64 [P, 2].

    In processes: most of SIFT is Python, which threads would run one at a time.
    """
    pool = Parallel(n_jobs=-1, return_as="generator")
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


def _keypoints_of(images: Path, row: int) -> Keypoints:
    return keypoints(files.read_rows(images, row, row + 1)[0])


def _compared(images: Path, rows: list[int], known: list[Keypoints], min_inliers: int) -> tuple[int, float]:
    """The inliers and the correlation of a pair of images; the latter is 0 where the inliers are too few."""
    found = register(*known)
    if found is None or found.inliers < min_inliers:
        return (found.inliers if found else 0), 0.0
    first, second = (files.read_rows(images, row, row + 1)[0] for row in rows)
    return found.inliers, correlation(first, second, found.transform)


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
