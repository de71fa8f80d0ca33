"""Writes models/published: a trained model, small enough for Git, with all that a prediction takes.

The same model gives the same bytes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from skinlesions.core import environment, files, paths, prose
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.evaluation import metrics, new_images, thresholds
from skinlesions.evaluation.operating_points import TASKS
from skinlesions.inference import packed_weights, predictor, published
from skinlesions.models import networks

TEMPLATES = Path(__file__).with_name("templates")
CARD, LICENCE = "README.md", "LICENSE"

# To what part of their bytes weights are compressed at best; measured were .88 (fine-tuned) and .84 (little trained).
COMPRESSED = 0.8

# The packages whose versions are noted.
PACKAGES = {"keras", "numpy", "pillow"}


def publish(name: str | None, target: Path) -> None:
    """Write the trained model `name` to the folder `target`, or a note that there is none.

    What an earlier call has written there is replaced; model.json, without which nothing of the folder is used, goes
    first and comes last.

    Raises:
        UserError: the model is not trained, its weights exceed what float16 holds, or its files are too large.
    """
    made = {CARD: _text("none.md.j2")} if name is None else _files(networks.read(name))
    for path in (target / published.RECORD, target / LICENCE, *target.glob("fold_*.npz")):
        path.unlink(missing_ok=True)
    for file, content in made.items():
        files.write_bytes(target / file, content)


def check_size(description: networks.Description) -> None:
    """Refuse a model, before it is trained, that would be too large to be published.

    Raises:
        UserError: it would be, however well its weights are compressed.
    """
    least = COMPRESSED * packed_weights.size(networks.build(description)) * description.folds
    if least > published.MAXIMUM_BYTES:
        raise UserError(_too_large(description, least))


def _too_large(description: networks.Description, size: float) -> str:
    """What to do about a model whose weights take `size` bytes."""
    return (
        f"publish.model: the weights of {description.name} take {size / 1e6:.1f} MB in {description.folds} folds, and "
        f"Git gets at most {published.MAXIMUM_BYTES / 1e6:.0f} MB; name a smaller model, or null for none"
    )


def _files(description: networks.Description) -> dict[str, bytes]:
    """Every file of the folder by its name, model.json last."""
    table = predictor.out_of_fold(description)
    test, val = new_images.parts({description.name: table})
    points = new_images.operating_points(val)
    network = networks.load(description, 0)
    weights = []
    for fold in range(description.folds):
        networks.take_fold(network, description, fold)
        weights.append(packed_weights.packed(network))
    size = sum(map(len, weights))
    if size > published.MAXIMUM_BYTES:
        raise UserError(_too_large(description, size))
    source = files.read_json(paths.RAW / "source.json")
    synthetic = source["source"] == "sample"
    record = published.Record(
        format=1,
        network=description,
        preprocessing=published.preprocessing(network),
        classes=list(CLASSES),
        scaling=[
            published.Scaling(factors=own.factors.tolist(), shifts=own.shifts.tolist())
            for own in new_images.scalings(table)
        ],
        weights=[published.Weights(bytes=len(content), sha256=files.sha256(content)) for content in weights],
        operating_points=[published.Point.of(point) for point in points],
        data=published.Trained(
            source=source["source"],
            images=source["images"],
            lesions=source["lesions"],
            manifest_sha256=files.sha256(paths.RAW_MANIFEST),
        ),
        licence="MIT" if synthetic else "CC-BY-NC-4.0",
        versions=environment.installed(PACKAGES),
    )
    point = new_images.find(points, *new_images.DECISION)
    values = {
        "network": vars(description),
        "architecture": description.architecture or "a small network",
        "start": "random weights" if description.initialisation == "random" else description.initialisation,
        "data": source,
        "origin": "drawn by the project" if synthetic else "HAM10000",
        "synthetic": synthetic,
        "threshold": point.threshold if np.isfinite(point.threshold) else None,
        "target": point.target,
        "size": size / 1e6,
        "scores": _scores(test, point),
    }
    made = {published.weights_file(Path(), fold).name: content for fold, content in enumerate(weights)}
    made |= {CARD: _text("README.md.j2", **values), LICENCE: _text("LICENSE.j2", **values)}
    return made | {published.RECORD: files.json_bytes(record.model_dump(mode="json"))}


def _scores(test: thresholds.Part, point: new_images.OperatingPoint) -> dict[str, float]:
    """What the network of each fold scores on its test images, all together."""
    positive = thresholds.positives(test.labels, TASKS[point.task])
    called = thresholds.called(test, TASKS[point.task], dict(enumerate(point.by_fold)))
    rates = {"sensitivity": called[positive].mean(), "specificity": (~called[~positive]).mean()}
    overall = metrics.summary(test.labels, test.probabilities)
    return {name: overall[name] for name in ("accuracy", "balanced_accuracy")} | rates


def _text(template: str, **values: Any) -> bytes:
    """The template of that name with `values` in it."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return (str(prose.render(text, **values)).strip() + "\n").encode()
