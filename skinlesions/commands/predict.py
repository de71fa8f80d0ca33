"""The trained models' probabilities for images of your own.

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
from pathlib import Path

from skinlesions.core import paths
from skinlesions.core.errors import UserError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the images, the models and the output."""
    parser.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="an image, a folder or a zip file")
    parser.add_argument(
        "--models", metavar="NAME[,NAME]", help="trained models to average (default: the ensemble of params.yaml)"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="where to write the CSV")


def run(arguments: argparse.Namespace) -> None:
    """Predict, then name on stderr what could not be read.

    Raises:
        UserError: the output cannot be written, a model is not trained, or there is no image.
    """
    check_target(arguments.out)
    # Only here: Keras takes seconds to start, and neither help nor a wrong output needs it.
    from PIL import Image

    from skinlesions.inference import photographs, predict, predictor

    # skinlesions.data.decoding has a limit of its own, which is lower and an error.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    names = predict.model_names(arguments.models)
    images, faults = photographs.find(arguments.paths)
    if not images:
        raise UserError("no image to predict:\n" + "\n".join(faults))
    try:
        faults += predict.predict(images, [predictor.Predictor(name) for name in names], arguments.out)
    except KeyboardInterrupt:
        print(f"interrupted: {paths.relative(arguments.out)} is as it was before", file=sys.stderr, flush=True)
        sys.exit(130)
    if faults:
        print(f"could not be read ({len(faults):,}), the others are written:", file=sys.stderr)
        print("\n".join(f"  {fault}" for fault in faults), file=sys.stderr, flush=True)
        sys.exit(1)


def check_target(path: Path) -> None:
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
