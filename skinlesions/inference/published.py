"""The published model: one trained model in a folder of its own, models/published, which Git has.

It needs nothing else: model.json says how the networks are built and fed, how they are calibrated and where decisions
are made, and what every file of weights must hash to; fold_K.npz holds the weights of the network of fold K.
`skinlesions.inference.publishing` writes the folder.
"""

import math
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import keras
import numpy as np
from pydantic import Field, StringConstraints, ValidationError

from skinlesions.core import files, paths
from skinlesions.core.blocks import Block
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import predictions
from skinlesions.evaluation import new_images
from skinlesions.evaluation.calibration import VectorScaling
from skinlesions.evaluation.new_images import OperatingPoint
from skinlesions.inference import packed_weights, predictor
from skinlesions.models import networks

RECORD = "model.json"

# What all files of weights may have together: the folder is in every clone.
MAXIMUM_BYTES = 25_000_000
# How far a probability may be from that of the trained model in float32. On 200 images of HAM10000 that of one
# MobileNetV2 differed by at most .003; the mean over five networks is closer.
TOLERANCE = 5e-3
# model.json of five folds has 6 kB.
MAXIMUM_RECORD_BYTES = 1_000_000

REMEDY = "restore it with `git checkout models/published`, or publish a model again with `dvc repro publish`"

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PerClass = Annotated[list[float], Field(min_length=len(CLASSES), max_length=len(CLASSES))]


class Preprocessing(Block):
    """What a network does to pixels first: `pixel * scale + offset` by channel, in BGR if the channels are reversed."""

    scale: list[float]
    offset: list[float]
    reverse_channels: bool


class Scaling(Block):
    """The vector scaling of one network: logits * factors + shifts, in the order of the classes."""

    factors: PerClass
    shifts: PerClass


class Point(Block):
    """An operating point as new_images.OperatingPoint has it; a threshold that nothing reaches is null."""

    task: str
    criterion: str
    target: float
    by_fold: list[float | None]

    @classmethod
    def of(cls, point: OperatingPoint) -> "Point":
        """`point` as model.json has it."""
        by_fold = [value if math.isfinite(value) else None for value in point.by_fold]
        return cls(task=point.task, criterion=point.criterion, target=point.target, by_fold=by_fold)

    def used(self) -> OperatingPoint:
        """The operating point that it stands for."""
        by_fold = tuple(math.inf if value is None else value for value in self.by_fold)
        return OperatingPoint(self.task, self.criterion, self.target, by_fold)


class Weights(Block):
    """A file of weights."""

    bytes: int = Field(ge=1, le=MAXIMUM_BYTES)
    sha256: Hash


class Trained(Block):
    """What the model was trained on.

    Attributes:
        source: `ham10000` or `sample`, as data.source of params.yaml says.
        images, lesions: how many there are in all folds.
        manifest_sha256: of the list of the images and their hashes.
    """

    source: Literal["ham10000", "sample"]
    images: int
    lesions: int
    manifest_sha256: Hash


class Record(Block):
    """model.json: all that a prediction takes beside the weights.

    Attributes:
        format: of this file.
        network: from which each network is built, with the geometry of its input and its views.
        preprocessing: of the network.
        classes: in the order of its outputs.
        scaling, weights: of the network of each fold.
        operating_points: with a threshold for each fold.
        data: what it was trained on.
        licence: of the weights, by its SPDX identifier.
        versions: of the packages that it was published with.
    """

    format: Literal[1]
    network: networks.Description
    preprocessing: Preprocessing
    classes: list[str]
    scaling: list[Scaling]
    weights: list[Weights]
    operating_points: list[Point]
    data: Trained
    licence: str
    versions: dict[str, str]


def weights_file(folder: Path, fold: int) -> Path:
    """Where the weights of the network of `fold` are."""
    return folder / f"fold_{fold}.npz"


def preprocessing(network: keras.Model) -> Preprocessing:
    """What `network` does to pixels first."""
    layer = network.get_layer("preprocess")
    return Preprocessing(scale=list(layer.scale), offset=list(layer.offset), reverse_channels=layer.reverse_channels)


def is_there(folder: Path) -> bool:
    """Whether a model is published in `folder`."""
    return (folder / RECORD).is_file()


def read(folder: Path) -> Record:
    """What model.json in `folder` says, checked.

    Raises:
        UserError: it is absent, damaged, or of another version of the project.
    """
    path = folder / RECORD
    try:
        content = _read(path, MAXIMUM_RECORD_BYTES)
        record = Record.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "whole file"
        raise UserError(f"{paths.relative(path)} is damaged ({place}: {fault['msg']}); {REMEDY}") from None
    folds = record.network.folds
    counts = [len(record.scaling), len(record.weights), *(len(point.by_fold) for point in record.operating_points)]
    if set(counts) != {folds}:
        raise UserError(f"{paths.relative(path)} is damaged (not everything is of {folds} folds); {REMEDY}")
    if tuple(record.classes) != CLASSES:
        raise UserError(
            f"{paths.relative(path)} has the classes {', '.join(record.classes)}; expected {', '.join(CLASSES)}"
        )
    return record


def load(folder: Path, record: Record) -> predictor.Predictor:
    """The model in `folder`, ready for new images.

    Its probabilities are within TOLERANCE of those of the trained model: float16 kernels are cast to float32 before
    anything is computed.

    Args:
        record: what `read` gave.

    Raises:
        UserError: a file of weights is absent, or is not the one that was published, or does not fit the network.
    """
    description = record.network
    where = paths.relative(folder / RECORD)
    contents = [_weights(weights_file(folder, fold), own) for fold, own in enumerate(record.weights)]
    try:
        network = networks.build(description)
    except (UserError, ValueError, TypeError, KeyError) as error:
        why = textwrap.shorten(str(error), 120)
        raise UserError(f"{where} describes no network that can be built ({why}); {REMEDY}") from None
    if preprocessing(network) != record.preprocessing:
        raise UserError(f"{where} has another preprocessing than its network has in this version; {REMEDY}")
    weights = []
    for fold, content in enumerate(contents):
        try:
            weights.append(packed_weights.unpacked(content, network))
        except ValueError as error:
            raise UserError(f"{paths.relative(weights_file(folder, fold))} {error}; {REMEDY}") from None
    scalings = [VectorScaling(np.array(own.factors), np.array(own.shifts)) for own in record.scaling]
    return predictor.Predictor(description, predictor.in_turn(network, weights), scalings, REMEDY)


def faults(folder: Path, published_predictions: Path) -> Iterator[str]:
    """What is wrong with the model in `folder`, if there is one, or why it is not that of the report.

    Args:
        published_predictions: the folder with MODEL.csv.gz of the report, from which its calibration follows.
    """
    if not is_there(folder):
        return
    try:
        record = read(folder)
        for fold, own in enumerate(record.weights):
            _weights(weights_file(folder, fold), own)
        table = predictions.read(published_predictions / f"{record.network.name}.csv.gz")
    except UserError as error:
        yield str(error)
        return
    found = [[own.factors.tolist(), own.shifts.tolist()] for own in new_images.scalings(table)]
    known = [[own.factors, own.shifts] for own in record.scaling]
    if len(found) != len(known) or not np.allclose(found, known, rtol=1e-6, atol=1e-9):
        yield (
            f"{paths.relative(folder / RECORD)} has another calibration than follows from the predictions of "
            f"{record.network.name} in the report: it is of another run; `dvc repro publish` publishes that of this one"
        )


def _weights(path: Path, known: Weights) -> bytes:
    """The file `path`, once it is sure to be the one that was published."""
    content = _read(path, known.bytes)
    if (found := files.sha256(content)) != known.sha256:
        raise UserError(
            f"{paths.relative(path)} is damaged: its SHA-256 is {found}, {RECORD} says {known.sha256}; {REMEDY}"
        )
    return content


def _read(path: Path, maximum: int) -> bytes:
    """The file `path`, of at most `maximum` bytes."""
    try:
        with path.open("rb") as stream:
            content = stream.read(maximum + 1)
    except FileNotFoundError:
        raise UserError(f"{paths.relative(path)} does not exist; {REMEDY}") from None
    except OSError as error:
        raise UserError(f"{paths.relative(path)} cannot be read ({error.strerror}); {REMEDY}") from None
    if len(content) > maximum:
        raise UserError(f"{paths.relative(path)} is damaged: it has more than {maximum:,} bytes; {REMEDY}")
    return content
