"""Photographs of any size through trained models, into a file of calibrated probabilities."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from skinlesions.core import config, files, names
from skinlesions.core.errors import UserError
from skinlesions.core.parallel import in_order
from skinlesions.core.progress import Progress
from skinlesions.data import isic_csv
from skinlesions.data.decoding import decode
from skinlesions.data.sources import archives
from skinlesions.data.sources.archives import ImageFile
from skinlesions.inference import predictor

# Images that are in memory as pixels at a time: so many that handing a network from one fold to the next costs little.
CHUNK = 256

Item = TypeVar("Item")


def predict(images: Sequence[ImageFile], predictors: Sequence[predictor.Predictor], target: Path) -> list[str]:
    """Write the predictions for `images` to `target`, whole or not at all, in their order.

    Images are decoded in threads, and a chunk of them is in memory at a time, however many there are.

    Returns:
        One sentence for every image that cannot be read; it has no row.

    Raises:
        UserError: none of them can be read; nothing is written.
    """
    # Models that want the same square share it.
    preparers = {_square(own): own.prepare for own in predictors}
    faults: list[str] = []

    def prepared(item: tuple[ImageFile, bytes | ValueError]) -> tuple[ImageFile, list[np.ndarray] | ValueError]:
        """The image as each square that a model wants, or what is wrong with it."""
        image, content = item
        if isinstance(content, ValueError):
            return image, content
        try:
            picture = decode(content)
        except ValueError as error:
            return image, error
        return image, [prepare(picture) for prepare in preparers.values()]

    with (
        files.replacing(target) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
        Progress("predict", len(images) * len(predictors), "predictions") as progress,
    ):
        isic_csv.write_header(stream)
        for chunk in _chunks(in_order(prepared, archives.contents(images)), CHUNK):
            faults += [f"{image.name}: {result}" for image, result in chunk if isinstance(result, ValueError)]
            whole = [(image.image_id, result) for image, result in chunk if not isinstance(result, ValueError)]
            if not whole:
                continue
            names, squares = zip(*whole, strict=True)
            pixels = dict(zip(preparers, map(np.stack, zip(*squares, strict=True)), strict=True))
            probabilities = []
            for own in predictors:
                probabilities.append(own.probabilities(pixels[_square(own)]))
                progress.advance(len(names))
            isic_csv.write_rows(stream, names, predictor.ensemble(probabilities))
        if len(faults) == len(images):
            raise UserError("no image could be read, nothing is written:\n" + "\n".join(faults))
    return faults


def _square(own: predictor.Predictor) -> tuple[int, str]:
    """What decides how `own` prepares an image: the size of the square, and how the image is fitted into it."""
    return own.description.prepared_size, own.description.fit


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """`items` in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def model_names(text: str | None) -> list[str]:
    """The models that `text` names, separated by commas; the members of the ensemble of params.yaml if it is None.

    Raises:
        UserError: a model is not known, or a member of the ensemble is not trained; the message lists those that are.
    """
    trained = predictor.trained()
    if text is None:
        try:
            return names.members(config.load().compare.ensemble, trained)
        except UserError as error:
            raise UserError(f"{error}, or name trained models with --models") from None
    chosen = list(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in chosen if name not in trained]
    if unknown:
        raise UserError(f"--models: there is no trained model {unknown[0]!r}; there are {', '.join(trained)}")
    return chosen
