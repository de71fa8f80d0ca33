"""Pictures of one thing under several names: near-duplicates by the project's search, identical ones by their pixels.

The search is that of the stage `split`, with its settings: what it found in HAM10000 is published with the report.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from skinlesions.core import config, files, paths
from skinlesions.core.errors import UserError
from skinlesions.core.formatting import plain, plural
from skinlesions.core.parallel import in_order
from skinlesions.core.progress import Progress
from skinlesions.data import duplicates
from skinlesions.data.decoding import decode
from skinlesions.data.images import fit
from skinlesions.data.sources import archives
from skinlesions.data.sources.archives import ImageFile
from skinlesions.evaluation.audit import Pairs
from skinlesions.inference import photographs
from skinlesions.models import backbones, features, pretrained

# The directions in which all images vary, which the search takes out of the features, show in this many of them. Among
# fewer, similarities say less: then every image is compared with its nearest, however similar they are.
MANY = 5_000

COLUMNS = ["image_id", "other_image_id"]


def find(split: pd.DataFrame, places: Sequence[Path], notes: list[str]) -> Pairs:
    """The pairs among those images in `places`, folders or zip files, that a split has.

    Args:
        split: image_id, lesion_id and dx; an image may have several rows.
        notes: gets a sentence for what was not looked at.

    Raises:
        UserError: a place does not exist, two images in it have one name, or none is of the split.
    """
    settings = config.load()
    search = settings.split.duplicates
    found, faults = photographs.find(places)
    known = split.drop_duplicates("image_id").set_index("image_id")
    images = [image for image in found if image.image_id in known.index]
    if not images:
        raise UserError(
            f"--images: none of the {len(known):,} images of the split is there; they go by the split's names"
        )
    if absent := len(known) - len(images):
        notes.append(f"{plain(plural(absent, 'image'))} of the split not found with --images, and so not compared")
    paths.PARTIAL.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=paths.PARTIAL, prefix="audit.") as folder:
        pixels = Path(folder) / "images.npy"
        names, digests, unreadable = _prepare(images, pixels, settings.prepare.size, settings.prepare.fit)
        notes += [f"not compared: {fault}" for fault in (*faults, *unreadable)]
        index = known.loc[names].reset_index()
        # An image of no known lesion is a lesion of its own.
        index["lesion_id"] = index["lesion_id"].where(index["lesion_id"] != "", index["image_id"])
        table = duplicates.find(
            index,
            _features(search.backbone, settings, pixels),
            pixels,
            neighbours=search.neighbours,
            min_similarity=search.min_similarity if len(names) >= MANY else -1.0,
            min_inliers=search.min_inliers,
            min_correlation=search.min_correlation,
        )
    return Pairs(duplicates.across_lesions(table)[COLUMNS], _identical(names, digests))


def _prepare(images: Sequence[ImageFile], target: Path, size: int, how: str) -> tuple[list[str], list[str], list[str]]:
    """Write the images that can be read to `target`, a .npy file of uint8 [n, size, size, 3].

    Returns:
        their names, digests of all their pixels, and what is wrong with the others.
    """
    names: list[str] = []
    digests: list[str] = []
    faults: list[str] = []
    squares = np.lib.format.open_memmap(target, mode="w+", dtype="uint8", shape=(len(images), size, size, 3))

    def prepared(item: tuple[ImageFile, bytes | ValueError]) -> tuple[ImageFile, str, np.ndarray] | str:
        image, content = item
        try:
            if isinstance(content, ValueError):
                raise content
            picture = decode(content)
        except ValueError as error:
            return f"{image.name} {error}"
        whole = hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()
        return image, whole, np.asarray(fit(picture, size, how))

    with Progress("prepare", len(images)) as progress:
        for result in in_order(prepared, archives.contents(images)):
            progress.advance()
            if isinstance(result, str):
                faults.append(result)
                continue
            image, digest, square = result
            squares[len(names)] = square
            names.append(image.image_id)
            digests.append(digest)
    squares.flush()
    del squares
    if faults:  # the rows that were left empty
        files.write_array(target, files.read_rows(target, 0, len(names)))
    return names, digests, faults


def _features(name: str, settings: config.Params, pixels: Path) -> np.ndarray:
    """The features of the prepared images by the backbone whose features the search uses, float16 [n, D]."""
    backbone = settings.backbones[name]
    if isinstance(backbone, config.Embedding):
        raise UserError(
            f"--images: the search takes its features from {name}, which is an embedding; name a network under "
            "split.duplicates.backbone in params.yaml"
        )
    if paths.backbone_weights(name).exists():
        network = pretrained.plain(backbone)
        network.load_weights(paths.backbone_weights(name))
    else:
        network, _ = pretrained.load(name, backbone)
    target = pixels.with_name("features.npy")
    features.extract(
        backbones.feature_extractor(name, backbone.architecture, network, backbone.pooling),
        pixels,
        target,
        crop=backbone.crop,
        batch_size=settings.features.batch_size,
        partial=pixels.with_name("partial"),
        key={},
    )
    return files.read_array(target)


def _identical(names: Sequence[str], digests: Sequence[str]) -> pd.DataFrame:
    """All pairs of images with the same pixels."""
    groups = pd.Series(names).groupby(np.asarray(digests)).agg(sorted)
    pairs = [pair for group in groups for pair in combinations(group, 2)]
    return pd.DataFrame(pairs, columns=COLUMNS, dtype=str)
