"""Images of HAM10000 in an external set: by name, by content, by lesion, and saved again under another name.

A copy that was scaled, compressed or cropped a little has other bytes. The project's own search for photographs of one
lesion finds it, in the steps of `data.duplicates`: images that resemble each other are laid on each other by their
keypoints, and the fine structure of what both show is compared. Features of a network would cost hours here, where no
network has run yet; the features are the colours of a coarse picture instead, of the external image in its four quarter
turns. So copies are found, turned ones as well, and photographs of a lesion of HAM10000 that were taken from about the
same place. One from another distance or angle is not, nor is a mirrored copy.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from skinlesions.core import files
from skinlesions.core.names import TAKEN_OUT_COLUMNS
from skinlesions.core.parallel import in_order
from skinlesions.core.progress import Progress
from skinlesions.data import duplicates
from skinlesions.data.decoding import decode
from skinlesions.data.images import fit

# What an image is taken out for, from the surest to the least sure.
NAME, CONTENT, LESION, NEAR_DUPLICATE = REASONS = ("name", "content", "lesion", "near_duplicate")

# Side of the coarse pictures, in pixels.
SIDE = 8
# How HAM10000's images are made square: a copy may have been cropped or squeezed.
FITS = ("crop", "stretch")
TURNS = 4

# With how many of the most similar images each one is compared, and the cosine below which two are not. Of 1,400
# copies of images of HAM10000 (compressed, halved, cropped to a square, squeezed, turned, relit, or without a twentieth
# at each edge) every one is above 0.77 and the most similar; of the official test set a quarter has an image above 0.7.
NEIGHBOURS = 5
MIN_SIMILARITY = 0.7
# As split.duplicates in params.yaml, whose false alarms are counted in notebook 2.
MIN_INLIERS = 6
MIN_CORRELATION = 0.3
# Side of the pictures that are laid on each other, in pixels.
COMPARED_SIDE = 240


def known(
    table: pd.DataFrame, hashes: Mapping[str, str], metadata: pd.DataFrame, manifest: pd.DataFrame
) -> pd.DataFrame:
    """The images that HAM10000 has by name, by content or by lesion: TAKEN_OUT_COLUMNS, without measures.

    Args:
        table: image_id and lesion_id of the external images.
        hashes: the SHA-256 of their files.
        metadata: of HAM10000.
        manifest: of HAM10000, with the SHA-256 of every file.
    """
    names = set(metadata["image_id"])
    by_lesion = dict(zip(metadata["lesion_id"], metadata["image_id"], strict=True))
    by_content = dict(zip(manifest["sha256"], manifest["image_id"], strict=True))
    rows = []
    for image_id, lesion_id in table[["image_id", "lesion_id"]].itertuples(index=False):
        if image_id in names:
            rows.append((image_id, NAME, image_id))
        elif hashes[image_id] in by_content:
            rows.append((image_id, CONTENT, by_content[hashes[image_id]]))
        elif lesion_id in by_lesion:
            rows.append((image_id, LESION, by_lesion[lesion_id]))
    return pd.DataFrame(rows, columns=list(TAKEN_OUT_COLUMNS[:3])).reindex(columns=list(TAKEN_OUT_COLUMNS))


def coarse(image: Image.Image, how: str) -> np.ndarray:
    """The coarse picture of `image`, made square as `how` says: uint8 [SIDE, SIDE, 3]."""
    square = fit(image, 8 * SIDE, how)  # in two steps: the mean over a block, whatever the size of the image
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BOX))


def near_duplicates(
    external: pd.DataFrame,
    pictures: Mapping[str, np.ndarray],
    read: Callable[[list[str]], Iterable[tuple[str, bytes]]],
    ham10000: Mapping[str, Path],
    partial: Path,
) -> pd.DataFrame:
    """The external images that show what an image of HAM10000 shows: TAKEN_OUT_COLUMNS, the most alike image of each.

    Args:
        external: image_id of the images to look at.
        pictures: what `coarse` gives of each, cropped.
        read: gives (image id, bytes) of the external images that it is asked for, in any order.
        ham10000: the file of every image of HAM10000.
        partial: a folder for what is compared; it is left empty.
    """
    names, own = list(external["image_id"]), list(ham10000)
    if not names or not own:
        return pd.DataFrame(columns=list(TAKEN_OUT_COLUMNS))

    def of_file(path: Path) -> np.ndarray:
        image = decode(path.read_bytes())
        return np.stack([coarse(image, how) for how in FITS])

    references = np.empty((len(FITS), len(own), SIDE, SIDE, 3), "uint8")
    with Progress("external_data: compare", len(own), "images of HAM10000") as progress:
        for number, picture in enumerate(in_order(of_file, ham10000.values())):
            references[:, number] = picture
            progress.advance()
    found = candidates(np.stack([pictures[name] for name in names]), references)
    if found.empty:
        return pd.DataFrame(columns=list(TAKEN_OUT_COLUMNS))

    # Every external image once, and every image of HAM10000 once as each square that is compared.
    asked = sorted({names[row] for row in found["row"]})
    squares = sorted(set(zip(found["reference"], found["fit"], strict=True)))
    path = partial / "compared.npy"
    with files.replacing(path) as temporary:
        array = np.lib.format.open_memmap(
            temporary, "w+", "uint8", (len(asked) + len(squares), COMPARED_SIDE, COMPARED_SIDE, 3)
        )
        place = {name: row for row, name in enumerate(asked)}
        for name, content in read(asked):
            array[place[name]] = np.asarray(fit(decode(content), COMPARED_SIDE, "crop"))
        for row, (reference, how) in enumerate(squares, start=len(asked)):
            image = decode(ham10000[own[reference]].read_bytes())
            array[row] = np.asarray(fit(image, COMPARED_SIDE, FITS[how]))
        array.flush()
        del array
    at = {square: row for row, square in enumerate(squares, start=len(asked))}
    pairs = np.array(
        [
            (place[names[row]], at[reference, how])
            for row, reference, how in found[["row", "reference", "fit"]].itertuples(index=False)
        ]
    )
    inliers, correlations = duplicates.measured(path, pairs, MIN_INLIERS)
    path.unlink()
    table = pd.DataFrame(
        {
            "image_id": [names[row] for row in found["row"]],
            "reason": NEAR_DUPLICATE,
            "ham10000_image_id": [own[reference] for reference in found["reference"]],
            "similarity": found["similarity"].round(4),
            "inliers": inliers,
            "correlation": correlations.round(4),
        }
    )
    sure = table[(table["inliers"] >= MIN_INLIERS) & (table["correlation"] >= MIN_CORRELATION)]
    best = sure.sort_values(["correlation", "ham10000_image_id"], ascending=[False, True], kind="stable")
    return best.drop_duplicates("image_id").sort_values("image_id", ignore_index=True)


def candidates(pictures: np.ndarray, references: np.ndarray) -> pd.DataFrame:
    """The pairs worth comparing: row, reference, fit (a position in FITS), similarity.

    Args:
        pictures: uint8 [N, SIDE, SIDE, 3], of the external images.
        references: uint8 [F, M, SIDE, SIDE, 3], of HAM10000, made square in F ways.
    """
    count, ways, own = len(pictures), len(references), references.shape[1]
    turned = np.stack([np.rot90(pictures, turn, axes=(1, 2)) for turn in range(TURNS)])
    features = np.concatenate([turned.reshape(TURNS * count, -1), references.reshape(ways * own, -1)])
    white = duplicates.whitened(features)
    queries, targets = white[: TURNS * count].reshape(TURNS, count, -1), white[TURNS * count :]
    rows = []
    for start in range(0, count, duplicates.CHUNK):
        chunk = queries[:, start : start + duplicates.CHUNK]
        # The turn that fits best decides, then the way of making the reference square.
        similarity = np.max([part @ targets.T for part in chunk], axis=0).reshape(-1, ways, own)
        how, best = similarity.argmax(axis=1), similarity.max(axis=1)
        for row in range(len(best)):
            nearest = np.argsort(-best[row], kind="stable")[:NEIGHBOURS]
            for reference in nearest[best[row, nearest] >= MIN_SIMILARITY]:
                rows.append((start + row, int(reference), int(how[row, reference]), float(best[row, reference])))
    return pd.DataFrame(rows, columns=["row", "reference", "fit", "similarity"])
