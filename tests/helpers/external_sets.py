"""External test sets of made-up images and predictions."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from skinlesions.core import files
from skinlesions.core.classes import CLASSES
from skinlesions.core.names import ALWAYS_NV, DESCRIBED, ENSEMBLE, OUT_OF_SCOPE_COLUMNS
from skinlesions.data import isic_csv
from skinlesions.evaluation import metrics
from skinlesions.evaluation.external import GROUND_TRUTH, OUT_OF_SCOPE, ExternalSet, foreign_file, read

DX = ["mel", "mel", "nv", "nv", "nv", "nv", "bcc", "df"]


def external_set(folder: Path, foreign: dict[str, str] | None = None) -> ExternalSet:
    """Eight coarse images of seven lesions.

    Args:
        foreign: by image its diagnosis, for further images that are none of the seven classes; they are PNG.
    """
    folder = folder / "external_raw"
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(0)
    names = [f"ISIC_{number}" for number in range(len(DX))]
    for name in names:
        pixels = generator.integers(0, 256, (6, 8, 3), dtype="uint8")
        Image.fromarray(pixels).resize((80, 60)).save(folder / "images" / f"{name}.jpg", quality=95)
    for name in foreign or {}:
        pixels = generator.integers(0, 256, (6, 8, 3), dtype="uint8")
        Image.fromarray(pixels).resize((80, 60)).save(folder / "images" / f"{name}.png")
    if foreign:
        rows = [(name, name, diagnosis) for name, diagnosis in foreign.items()]
        files.write_csv(folder / OUT_OF_SCOPE, pd.DataFrame(rows, columns=list(OUT_OF_SCOPE_COLUMNS)))
    lesions = ["L0", "L0", *names[2:]]
    files.write_csv(folder / "metadata.csv", pd.DataFrame({"image_id": names, "lesion_id": lesions, "dx": DX}))
    source = {"name": "outside.zip", "origin": "local files", "note": "", "images": 8, "lesions": 7}
    files.write_json(folder / "source.json", source)
    return read(folder)


def made_up(
    folder, skill: dict[str, float], dx: list[str] = DX, foreign: dict[str, str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of models in `folder`, with `folds` and the out-of-fold table that go with them.

    Args:
        foreign: by image its diagnosis, for images that are none of the seven classes.
    """
    if foreign:
        rows = [(name, name, diagnosis) for name, diagnosis in foreign.items()]
        files.write_csv(folder / OUT_OF_SCOPE, pd.DataFrame(rows, columns=list(OUT_OF_SCOPE_COLUMNS)))
        for seed, model in enumerate(skill):
            logits = np.random.default_rng(100 + seed).normal(size=(len(foreign), 7))
            isic_csv.write(folder / foreign_file(model), list(foreign), metrics.softmax(logits))
    names = [f"ISIC_{number:03}" for number in range(len(dx))]
    labels = np.array([CLASSES.index(name) for name in dx])
    files.write_csv(folder / GROUND_TRUTH, pd.DataFrame({"image_id": names, "lesion_id": names, "dx": dx}))
    for seed, (model, amount) in enumerate(skill.items()):
        logits = np.random.default_rng(seed).normal(size=(len(dx), 7)) + amount * np.eye(7)[labels]
        isic_csv.write(folder / f"{model}.csv", names, metrics.softmax(logits))
    rows = [(model, fold, 0.5 + 0.1 * fold) for model in skill if model != ENSEMBLE for fold in range(3)]
    score = {"balanced_accuracy": 0.6, "balanced_accuracy_low": 0.55, "balanced_accuracy_high": 0.64}
    known = {name: {"training": f"training of {name}", "initialisation": f"weights of {name}"} for name in skill}
    out_of_fold = pd.DataFrame(
        [
            {"model": model} | known.get(model, dict.fromkeys(DESCRIBED, "–")) | score
            for model in (*skill, "stacked", ALWAYS_NV)
        ]
    )
    return pd.DataFrame(rows, columns=["model", "fold", "balanced_accuracy"]), out_of_fold
