"""The trained models on the external test set: one file of probabilities per model."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from skinlesions.core import files, names
from skinlesions.core.names import ENSEMBLE
from skinlesions.core.progress import Progress
from skinlesions.data import images, isic_csv
from skinlesions.evaluation import calibration
from skinlesions.evaluation.external import GROUND_TRUTH, OUT_OF_SCOPE, ExternalSet, foreign_file
from skinlesions.evaluation.metrics import softmax, summary
from skinlesions.inference import predictor
from skinlesions.models import networks

# Prepared images in memory at a time.
CHUNK = 1024


def predict(
    chosen: ExternalSet, models: Sequence[str], members: Sequence[str] | str, target: Path, partial: Path
) -> pd.DataFrame:
    """Score every image with every model and write the probabilities, calibrated and averaged over folds, to `target`.

    Args:
        models: names of trained models. Those that read an embedding are left out: it has no external images.
        members: those of the ensemble, or ensembles.ALL; of two or more the mean is written too, if none is left out.
        target: gets MODEL.csv, as skinlesions.data.isic_csv describes it, and the diagnoses, GROUND_TRUTH; the same of
            the images that are none of the seven classes, foreign_file(MODEL) and OUT_OF_SCOPE, where there are any.
        partial: for the prepared images; removed at the end.

    Returns:
        model, fold, balanced_accuracy: what the network of each fold scores on its own.

    Raises:
        UserError: the ensemble has a member that is not among `models`.
    """
    members = names.members(members, models)
    without = networks.without_images(models)
    models = [name for name in models if name not in without]
    scored, foreign = chosen.table["image_id"].tolist(), chosen.out_of_scope["image_id"].tolist()
    probabilities, rows = {}, []
    with Progress("external", len(models) * (len(scored) + len(foreign))) as progress:
        for name in models:
            own, logits = predictor.load(name), []
            temperatures = calibration.fold_temperatures(predictor.out_of_fold(own.description))
            for pixels in _prepared(chosen, own.description, partial):
                logits.append(own.logits(pixels))
                progress.advance(len(pixels))
            scales = np.array([temperatures[fold] for fold in range(own.description.folds)])
            by_fold = softmax(np.concatenate(logits, axis=1) / scales[:, None, None])
            probabilities[name] = by_fold.mean(axis=0)
            rows += [
                (name, fold, summary(chosen.labels, values[: len(scored)])["balanced_accuracy"])
                for fold, values in enumerate(by_fold)
            ]
    for path in partial.glob("*.npy"):
        path.unlink()
    if len(members) > 1 and not set(members) & set(without):
        probabilities[ENSEMBLE] = predictor.ensemble([probabilities[name] for name in members])
    for name, values in probabilities.items():
        isic_csv.write(target / f"{name}.csv", scored, values[: len(scored)])
        if foreign:
            isic_csv.write(target / foreign_file(name), foreign, values[len(scored) :])
    files.write_csv(target / GROUND_TRUTH, chosen.table)
    if foreign:
        files.write_csv(target / OUT_OF_SCOPE, chosen.out_of_scope)
    return pd.DataFrame(rows, columns=["model", "fold", "balanced_accuracy"])


def _prepared(chosen: ExternalSet, description: networks.Description, partial: Path) -> Iterator[np.ndarray]:
    """The images as the model was trained on them, uint8 [n, P, P, 3], a chunk at a time; those out of scope last.

    Args:
        description: of the model.
        partial: where they are kept for the next model that takes the same.
    """
    image_ids = [*chosen.table["image_id"], *chosen.out_of_scope["image_id"]]
    path = partial / f"{description.fit}_{description.prepared_size}.npy"
    if not path.exists():
        sources = [files.image_file(chosen.folder / "images", image_id) for image_id in image_ids]
        images.prepare(sources, path, description.prepared_size, description.fit)
    for start in range(0, len(image_ids), CHUNK):
        yield files.read_rows(path, start, start + CHUNK)
