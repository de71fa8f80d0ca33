"""`python -m skinlesions.inference.predict PATH...`: the trained models' probabilities for images of your own.

A PATH is an image (BMP, GIF, JPEG, PNG, TIFF, WEBP), or a folder or zip file, which stands for all images in it, at any
depth, sorted by name. The output is a submission to the ISIC 2018 challenge, Task 3: one row per image, named as the
file is without its extension, with calibrated probabilities averaged over folds and models. Whatever cannot be read is
named at the end, with the reason; the other images are written, and the exit code is 1.

Not a medical device: nothing that this prints may be used to diagnose anybody.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from skinlesions.core import config, files, paths
from skinlesions.core.errors import UserError, run_main
from skinlesions.core.parallel import in_order
from skinlesions.core.progress import Progress
from skinlesions.data import isic_csv
from skinlesions.data.sources.ham10000 import ImageFile
from skinlesions.evaluation import ensembles
from skinlesions.inference import photographs, predictor

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
            picture = photographs.decode(content)
        except ValueError as error:
            return image, error
        return image, [prepare(picture) for prepare in preparers.values()]

    with (
        files.replacing(target) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
        Progress("predict", len(images) * len(predictors), "predictions") as progress,
    ):
        isic_csv.write_header(stream)
        for chunk in _chunks(in_order(prepared, photographs.contents(images)), CHUNK):
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


def _model_names(text: str | None) -> list[str]:
    """The models that the command line names, checked; the members of the ensemble of params.yaml if it names none.

    Raises:
        UserError: a model is not known, or a member of the ensemble is not trained; the message lists those that are.
    """
    trained = predictor.trained()
    if text is None:
        try:
            return ensembles.members(config.load().compare.ensemble, trained)
        except UserError as error:
            raise UserError(f"{error}, or name trained models with --models") from None
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in names if name not in trained]
    if unknown:
        raise UserError(f"--models: there is no trained model {unknown[0]!r}; there are {', '.join(trained)}")
    return names


def _check_target(path: Path) -> None:
    """Refuse an output that could not be written in the end.

    Raises:
        UserError: it is a folder, or its folder cannot be made or written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: the folder {paths.relative(path.parent)} cannot be made ({error.strerror})") from None
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"--out: {paths.relative(path)} cannot be written; name a file in a folder that is yours")


def main() -> None:
    """Command line: predict, then name on stderr what could not be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="an image, a folder or a zip file")
    parser.add_argument(
        "--models", metavar="NAME[,NAME]", help="trained models to average (default: the ensemble of params.yaml)"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="where to write the CSV")
    arguments = parser.parse_args()
    # skinlesions.inference.photographs has a limit of its own, which is lower and an error.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    _check_target(arguments.out)
    names = _model_names(arguments.models)
    images, faults = photographs.find(arguments.paths)
    if not images:
        raise UserError("no image to predict:\n" + "\n".join(faults))
    try:
        faults += predict(images, [predictor.Predictor(name) for name in names], arguments.out)
    except KeyboardInterrupt:
        print(f"interrupted: {paths.relative(arguments.out)} is as it was before", file=sys.stderr, flush=True)
        sys.exit(130)
    if faults:
        print(f"could not be read ({len(faults):,}), the others are written:", file=sys.stderr)
        print("\n".join(f"  {fault}" for fault in faults), file=sys.stderr, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    run_main(main)
