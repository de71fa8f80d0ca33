"""Score predictions of seven classes, from here or from any other method, on images with known diagnoses.

Both files are CSV as the ISIC challenges have it: a column with the names of the images and one per class, in any
order. The ground truth may also be the metadata of HAM10000. Whatever the official scorer takes is taken; what had to
be normalised is noted. The scores and their intervals are those of the report, and below them stand those of the
official scorer. Needs neither images nor weights.
"""

import argparse
from pathlib import Path

from skinlesions.core import files, outputs
from skinlesions.core.errors import visible
from skinlesions.evaluation import submission
from skinlesions.evaluation.bootstrap import METHODS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the two files and how they are scored."""
    parser.add_argument(
        "predictions", type=Path, metavar="PREDICTIONS", help="a submission: image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
    )
    parser.add_argument(
        "ground_truth",
        type=Path,
        metavar="GROUND_TRUTH",
        help="the same with one 1 in a row, or image_id,dx; if known, with lesion_id; may have score_weight",
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="write the scores to this JSON file, too (-: print them instead)"
    )
    for name, kind, default, text in (
        ("--resamples", _resamples, submission.RESAMPLES, "bootstrap resamples"),
        ("--seed", _seed, submission.SEED, "of the resamples"),
        ("--confidence", _confidence, submission.CONFIDENCE, "of the intervals"),
    ):
        parser.add_argument(name, type=kind, default=default, help=f"{text} (default: %(default)s)")
    parser.add_argument(
        "--method", choices=METHODS, default=submission.METHOD, help="of the intervals (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the scores, and write them if asked."""
    if arguments.out is not None:
        outputs.check(arguments.out, [arguments.predictions, arguments.ground_truth])
    scores, about = submission.report(
        arguments.predictions,
        arguments.ground_truth,
        confidence=arguments.confidence,
        resamples=arguments.resamples,
        seed=arguments.seed,
        method=arguments.method,
    )
    if arguments.out is not None:
        outputs.write_text(arguments.out, files.json_bytes(submission.as_json(scores, about)).decode())
    if arguments.out != outputs.STANDARD_OUTPUT:
        print(visible(submission.as_text(scores, about)))


def _resamples(text: str) -> int:
    if (value := int(text)) < 10:
        raise argparse.ArgumentTypeError("must be 10 or more")
    return value


def _seed(text: str) -> int:
    if (value := int(text)) < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def _confidence(text: str) -> float:
    if not 0 < (value := float(text)) < 1:
        raise argparse.ArgumentTypeError("must be between 0 and 1, such as 0.95")
    return value
