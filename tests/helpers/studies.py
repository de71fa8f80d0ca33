"""Studies of made-up models, for tests of what is computed from a whole study."""

import numpy as np
import pandas as pd

from skinlesions.core import config
from skinlesions.data import balancing, predictions, records
from skinlesions.data.records import Study

PLAN = balancing.Plan("balanced_weights", 0.6711, 0.999, 2.0, 1.0)

SETTINGS = config.Compare(
    confidence=0.95,
    interval_method="percentile",
    resamples=50,
    test_resamples=80,
    seed=4,
    ensemble="all",
    calibrated_by="vector",
)


def metadata(image_ids: pd.Series, seed: int = 0) -> pd.DataFrame:
    """Made-up metadata of the images, as records.metadata_table gives them; some are unknown."""
    generator = np.random.default_rng(seed)
    count = len(image_ids)
    return pd.DataFrame(
        {
            "image_id": sorted(image_ids),
            "age": generator.choice([25.0, 40.0, 55.0, 70.0, 85.0, np.nan], size=count),
            "sex": generator.choice(["female", "male", "unknown"], size=count, p=[0.45, 0.5, 0.05]),
            "localization": generator.choice(["back", "face", "abdomen"], size=count),
            "dx_type": generator.choice(["histo", "follow_up"], size=count),
        }
    )[list(records.METADATA_COLUMNS)]


def with_metadata(index: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """`index` with made-up metadata, the same for all images of a lesion; nevi are confirmed in two ways."""
    generator = np.random.default_rng(seed)
    lesions = index.drop_duplicates("lesion_id").set_index("lesion_id")
    count = len(lesions)
    lesions["age"] = generator.choice([20, 35, 50, 65, 80, np.nan], size=count)
    lesions["sex"] = generator.choice(["female", "male"], size=count)
    lesions["localization"] = generator.choice(["back", "face", "scalp"], size=count, p=[0.6, 0.35, 0.05])
    followed = (lesions["dx"] == "nv") & (generator.random(count) < 0.5)
    lesions["dx_type"] = np.where(followed, "follow_up", "histo")
    columns = ["age", "sex", "localization", "dx_type"]
    return index.join(lesions[columns], on="lesion_id")


def described(name: str, **changed: object) -> dict[str, object]:
    """A description of a model in the keys of networks.Description that tell two models apart."""
    known = {"name": name, "training": "frozen features", "initialisation": "ImageNet", "backbone": name}
    known |= {"architecture": name, "image_size": 224, "crop": 224, "views": 1, "folds": 5}
    return known | changed


def study_of(models: dict[str, pd.DataFrame], **changed: object) -> Study:
    """The study of the predictions `models`; `changed` replaces parts of it."""
    images = predictions.select(next(iter(models.values())), "test")["image_id"] if models else []
    parts = {
        "models": models,
        "descriptions": {name: described(name) for name in models},
        "plan": PLAN,
        "metadata": metadata(images),
    }
    return Study(**(parts | changed))
