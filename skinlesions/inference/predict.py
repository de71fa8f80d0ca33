"""Photographs of any size through a model or several, into calibrated probabilities: a file, or a table to read."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from skinlesions.core import config, files, names, outputs, paths
from skinlesions.core.classes import CLASS_NAMES, CLASSES
from skinlesions.core.errors import UserError
from skinlesions.core.names import ENSEMBLE
from skinlesions.core.parallel import in_order
from skinlesions.core.progress import Progress
from skinlesions.data import isic_csv
from skinlesions.data.decoding import decode
from skinlesions.data.sources import archives
from skinlesions.data.sources.archives import ImageFile
from skinlesions.data.sources.checks import format_of
from skinlesions.evaluation import new_images
from skinlesions.evaluation.new_images import OperatingPoint
from skinlesions.evaluation.operating_points import TASKS
from skinlesions.inference import predictor, published
from skinlesions.models import networks

# Images that are in memory as pixels at a time: so many that handing a network from one fold to the next costs little.
CHUNK = 256

# The short side of a photograph in pixels: nobody sees a lesion in less, and an answer would mean nothing.
LEAST_SIDE = 32

Item = TypeVar("Item")


@dataclass(frozen=True)
class Chosen:
    """What answers: a model, or several whose probabilities are averaged.

    Attributes:
        predictors: the models.
        decision: where an image is called malignant.
        trained_on: what the models were trained on, in words.
    """

    predictors: list[predictor.Predictor]
    decision: OperatingPoint
    trained_on: str

    @property
    def notice(self) -> str:
        """What has to be said before any answer."""
        models = ", ".join(own.description.name for own in self.predictors)
        return (
            f"Not a medical device: nothing here may be used to diagnose anybody. {models}: trained on "
            f"{self.trained_on}."
        )


def choose(text: str | None) -> Chosen:
    """The published model if `text` is None, else the trained models that it names.

    Args:
        text: names separated by commas; `ensemble` stands for the members of the ensemble of params.yaml.

    Raises:
        UserError: no model is published, a name is not known, or a model is absent or damaged.
    """
    if text is None:
        folder = paths.PUBLISHED_MODEL
        if not published.is_there(folder):
            raise UserError(
                f"no model is published in {paths.relative(folder)}; name trained ones with --models NAME,NAME "
                "(`make report` trains them), or one under publish.model in params.yaml"
            )
        record = published.read(folder)
        points = [point.used() for point in record.operating_points]
        decision = new_images.find(points, *new_images.DECISION)
        return Chosen([published.load(folder, record)], decision, _words(record.data.source, record.data.images))
    predictors = [predictor.load(name) for name in model_names(text)]
    tables = {own.description.name: predictor.out_of_fold(own.description) for own in predictors}
    _, val = new_images.parts(tables)
    source = paths.RAW / "source.json"
    known = files.read_json(source) if source.is_file() else {"source": "", "images": 0}
    decision = new_images.find(new_images.operating_points(val), *new_images.DECISION)
    return Chosen(predictors, decision, _words(known["source"], known["images"]))


def _words(source: str, images: int) -> str:
    """What was trained on."""
    if source == "sample":
        return f"{images:,} synthetic images, so that its answers mean nothing"
    return f"{images:,} images of HAM10000" if source == "ham10000" else "images that nothing here tells of"


def model_names(text: str) -> list[str]:
    """The trained models that `text` names, separated by commas; the ensemble stands for its members.

    Raises:
        UserError: a model is not known, or a member of the ensemble is not trained; the message lists those that are.
    """
    trained = predictor.trained()
    chosen: list[str] = []
    for name in (part.strip() for part in text.split(",")):
        if name == ENSEMBLE:
            chosen += _on_images(names.members(config.load().compare.ensemble, trained))
        elif name in trained:
            chosen.append(name)
        else:
            raise UserError(
                f"--models: there is no trained model {name!r}; there are {', '.join(trained)}, and {ENSEMBLE} for "
                "those of params.yaml"
            )
    return list(dict.fromkeys(chosen))


def _on_images(members: list[str]) -> list[str]:
    """Those of `members` that read images; a note on stderr names the others.

    Raises:
        UserError: there are none.
    """
    without = networks.without_images(members)
    if without and len(without) == len(members):
        raise UserError(f"--models: all members of the ensemble, {', '.join(members)}, read embeddings and no images")
    if without:
        print(f"note: left out, as embeddings say nothing of new images: {', '.join(without)}", file=sys.stderr)
    return [name for name in members if name not in without]


def to_file(images: Sequence[ImageFile], chosen: Chosen, target: Path) -> list[str]:
    """Write the predictions for `images` to `target`, whole or not at all, in their order, as isic_csv describes.

    Returns:
        One sentence for every image that cannot be read; it has no row.

    Raises:
        UserError: none of them can be read; nothing is written.
    """
    faults: list[str] = []
    with outputs.writing(target) as stream:
        isic_csv.write_header(stream)
        for read, probabilities in _answers(images, chosen.predictors, faults):
            isic_csv.write_rows(stream, [image.image_id for image in read], probabilities)
    return faults


def to_table(images: Sequence[ImageFile], chosen: Chosen) -> list[str]:
    """Print the predictions for `images`: file, answer, whether it is called malignant, and the probabilities.

    Returns:
        One sentence for every image that cannot be read; it has no row.

    Raises:
        UserError: none of them can be read.
    """
    faults: list[str] = []
    rows = []
    for read, probabilities in _answers(images, chosen.predictors, faults):
        called = new_images.called(probabilities, chosen.decision)
        for image, own, yes in zip(read, probabilities, called, strict=True):
            answer = CLASS_NAMES[CLASSES[int(own.argmax())]]
            rows.append([_shown(image.name), answer, "yes" if yes else "no", *(f"{value:.3f}" for value in own)])
    print(_aligned([["file", "answer", "malignant", *CLASSES], *rows], text=2), flush=True)
    print(_explained(chosen.decision), file=sys.stderr, flush=True)
    return faults


def _explained(decision: OperatingPoint) -> str:
    """What the column `malignant` of the table means."""
    where = f"reach {decision.threshold:.3f}" if np.isfinite(decision.threshold) else "reach more than any does"
    return (
        f"malignant: yes if the probabilities of {', '.join(TASKS[decision.task])} together {where}, which "
        f"{decision.target:.0%} of the benign validation images did not"
    )


def _shown(name: str) -> str:
    """`name` as it may be printed: a file from anywhere may be called like a command to the terminal."""
    return name if name.isprintable() else ascii(name)


def _aligned(rows: Sequence[Sequence[str]], text: int) -> str:
    """`rows` in columns of equal width, the first `text` of them and no other with the blanks behind."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < text else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(lines)


def _answers(
    images: Sequence[ImageFile], predictors: Sequence[predictor.Predictor], faults: list[str]
) -> Iterator[tuple[list[ImageFile], np.ndarray]]:
    """The images that can be read, chunk by chunk, with their mean probabilities, float64 [n, 7].

    Images are decoded in threads, and a chunk of them is in memory at a time, however many there are.

    Args:
        faults: gets one sentence for every other image.

    Raises:
        UserError: none can be read.
    """
    # Models that want the same square share it.
    preparers = {_square(own): own.prepare for own in predictors}

    def prepared(item: tuple[ImageFile, bytes | ValueError]) -> tuple[ImageFile, list[np.ndarray] | ValueError]:
        """The image as each square that a model wants, or what is wrong with it."""
        image, content = item
        if isinstance(content, ValueError):
            return image, content
        try:
            picture = _large_enough(decode(content))
        except ValueError as error:
            kind = format_of(content)
            known = kind in ("JPEG", "PNG") or "known format" not in str(error)
            return image, error if known else ValueError(f"is no image that can be read but {kind}")
        return image, [prepare(picture) for prepare in preparers.values()]

    with Progress("predict", len(images) * len(predictors), "predictions") as progress:
        for chunk in _chunks(in_order(prepared, archives.contents(images)), CHUNK):
            faults += [f"{image.name}: {result}" for image, result in chunk if isinstance(result, ValueError)]
            whole = [(image, result) for image, result in chunk if not isinstance(result, ValueError)]
            if not whole:
                continue
            read, squares = zip(*whole, strict=True)
            pixels = dict(zip(preparers, map(np.stack, zip(*squares, strict=True)), strict=True))
            probabilities = []
            for own in predictors:
                probabilities.append(own.probabilities(pixels[_square(own)]))
                progress.advance(len(read))
            yield list(read), predictor.ensemble(probabilities)
    if len(faults) == len(images):
        raise UserError("no image could be read:\n" + "\n".join(faults))


def _large_enough(picture: Image.Image) -> Image.Image:
    """`picture`, refused (ValueError) if it is too small or too narrow to show a lesion."""
    if min(picture.size) < LEAST_SIDE:
        width, height = picture.size
        raise ValueError(f"is {width} x {height} pixels; the short side must have at least {LEAST_SIDE}")
    return picture


def _square(own: predictor.Predictor) -> tuple[int, str]:
    """What decides how `own` prepares an image: the size of the square, and how the image is fitted into it."""
    return own.description.prepared_size, own.description.fit


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """`items` in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
