"""The registration of two photographs of one lesion, and how alike they are where both show skin.

Keypoints (SIFT; Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60, 2004) are matched, and the
turn, scale and shift is taken that most matches agree on; then one image is laid on the other.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.feature import SIFT, match_descriptors
from skimage.transform import SimilarityTransform, warp

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
