"""Score predictions of seven classes, from here or from any other method, on images with known diagnoses.

Both files are CSV in the format of the ISIC 2018 challenge, Task 3; the ground truth may also be the metadata of
HAM10000. The scores and their intervals are those of the report. Needs neither images nor weights.
"""

import argparse
from pathlib import Path

from skinlesions.core import files
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
        help="the same with one 1 in a row, if known with a last column lesion_id; or image_id,lesion_id,dx",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the scores to this JSON file, too")
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
    scores, about = submission.report(
        arguments.predictions,
        arguments.ground_truth,
        confidence=arguments.confidence,
        resamples=arguments.resamples,
        seed=arguments.seed,
        method=arguments.method,
    )
    if arguments.out is not None:
        files.write_json(arguments.out, submission.as_json(scores, about))
    print(submission.as_text(scores, about))


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
