"""A model's probabilities for images of your own.

A PATH is an image (BMP, GIF, JPEG, PNG, TIFF, WEBP), or a folder or zip file, which stands for all images in it, at any
depth, sorted by name. The model is the published one, in models/published, or the trained ones that --models names.
Probabilities are averaged over folds and models, each calibrated by vector scaling: they are those of lesions as
frequent as in the images that were trained on.

Without --out a table is printed: the most probable class, whether the lesion is called malignant at the threshold with
90 % specificity in validation, and the seven probabilities. With --out they are written as a submission to the ISIC
2018 challenge, Task 3: one row per image, named as the file is without its extension. Whatever cannot be read is named
at the end, with the reason; the other images are done, and the exit code is 1.

Not a medical device: nothing that this prints may be used to diagnose anybody.
"""

import argparse
import sys
import warnings
from pathlib import Path

from skinlesions.core import outputs, paths
from skinlesions.core.errors import UserError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the images, the models and the output."""
    parser.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="an image, a folder or a zip file")
    parser.add_argument(
        "--models",
        metavar="NAME[,NAME]",
        help="trained models to average; ensemble: that of params.yaml (default: the published model)",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="a CSV to write, or -, instead of the table")


def run(arguments: argparse.Namespace) -> None:
    """Predict, then name on stderr what could not be read.

    Raises:
        UserError: the output cannot be written, a model is not trained, or there is no image.
    """
    target: Path | None = arguments.out
    if target is not None:
        outputs.check(target, arguments.paths)  # before Keras starts
    # Only here: Keras takes seconds to start, and neither help nor a wrong output needs it.
    from PIL import Image

    from skinlesions.inference import photographs, predict

    # skinlesions.data.decoding has a limit of its own, which is lower and an error.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    images, faults = photographs.find(arguments.paths)
    if not images:
        raise UserError("no image to predict:\n" + "\n".join(faults))
    if target is not None:
        outputs.check(target, {image.path for image in images})
    chosen = predict.choose(arguments.models)
    print(chosen.notice, file=sys.stderr, flush=True)
    try:
        faults += predict.to_table(images, chosen) if target is None else predict.to_file(images, chosen, target)
    except KeyboardInterrupt:
        was = "nothing is printed" if target is None else f"{paths.relative(target)} is as it was before"
        print(f"interrupted: {was}", file=sys.stderr, flush=True)
        sys.exit(130)
    if faults:
        done = "printed" if target is None else "written"
        print(f"could not be read ({len(faults):,}), the others are {done}:", file=sys.stderr)
        print("\n".join(f"  {fault}" for fault in faults), file=sys.stderr, flush=True)
        sys.exit(1)
