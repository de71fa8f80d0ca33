"""What was predicted, by what, of whom: as the stages leave it in data/, and as it is published."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from skinlesions.core import files, paths
from skinlesions.core.errors import UserError
from skinlesions.data import balancing, predictions

# What is published beside the predictions.
DESCRIPTIONS = "models.json"
PLAN = "plan.json"
METADATA = "metadata.csv"

# What is published of the metadata, so that groups can be scored without the images.
METADATA_COLUMNS = ("image_id", "age", "sex", "localization", "dx_type")

MAKE, RESTORE = "`dvc repro` makes it.", "Restore reports/ from Git."


@dataclass(frozen=True)
class Study:
    """What was predicted, by what, of whom.

    Attributes:
        models: the predictions of every model by its name, as skinlesions.data.predictions.read returns them.
        descriptions: by model, the keys of skinlesions.models.networks.Description.
        plan: what was done against the imbalance when they were trained.
        metadata: of the images, as `read_metadata` returns it.
    """

    models: dict[str, pd.DataFrame]
    descriptions: dict[str, dict[str, Any]]
    plan: balancing.Plan
    metadata: pd.DataFrame


def of_run(data: Path, models: Iterable[str]) -> Study:
    """What the stages before the comparison left in the folder `data`, of the given models.

    Raises:
        UserError: the predictions of a model break the format.
    """
    names = list(models)
    return Study(
        models={name: predictions.read(data / "train" / name / "predictions.csv") for name in names},
        descriptions={name: _readable(data / "train" / name / "model.json", files.read_json, MAKE) for name in names},
        plan=_readable(data / "balance" / "plan.json", balancing.read, MAKE),
        metadata=metadata_table(_readable(data / "prepared" / "index.csv", _read_index, MAKE)),
    )


def of_report(reports: Path) -> Study:
    """What a published report has.

    Raises:
        UserError: there are no predictions, a file beside them is absent or breaks the format, or the models that are
            described and those that are predicted are not the same.
    """
    folder = reports / "predictions"
    found = {path.name.removesuffix(".csv.gz"): path for path in sorted(folder.glob("*.csv.gz"))}
    if not found:
        raise UserError(
            f"{paths.relative(folder)} has no MODEL.csv.gz. Run `make report`, or restore reports/ from Git."
        )
    descriptions = _readable(folder / DESCRIPTIONS, files.read_json, RESTORE)
    if missing := sorted(set(descriptions) - set(found)):
        raise UserError(
            f"{paths.relative(folder / f'{missing[0]}.csv.gz')} does not exist, though {DESCRIPTIONS} beside it has "
            f"the model ({len(missing)} of {len(descriptions)} models are without predictions). {RESTORE}"
        )
    if foreign := sorted(set(found) - set(descriptions)):
        raise UserError(
            f"{paths.relative(found[foreign[0]])} is of a model that {DESCRIPTIONS} beside it does not have. {RESTORE}"
        )
    return Study(
        models={name: predictions.read(path) for name, path in found.items()},
        descriptions=descriptions,
        plan=_readable(folder / PLAN, balancing.read, RESTORE),
        metadata=read_metadata(folder / METADATA),
    )


def metadata_table(index: pd.DataFrame) -> pd.DataFrame:
    """METADATA_COLUMNS of every image of the prepared `index`, sorted by image_id.

    Without lesions and diagnoses, which the published predictions have.
    """
    return index[list(METADATA_COLUMNS)].sort_values("image_id", kind="stable", ignore_index=True)


def read_metadata(path: Path) -> pd.DataFrame:
    """The table that `metadata_table` made, from the CSV file `path`; an unknown age is NaN.

    Raises:
        UserError: the file is absent, or breaks the format.
    """
    name = paths.relative(path)
    try:
        table = pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False, na_values={"age": [""]})
    except FileNotFoundError:
        raise UserError(f"{name} does not exist. Run `make report`, or restore it from Git.") from None
    except ValueError as error:
        raise UserError(f"{name} cannot be read as CSV: {error}. Restore it from Git.") from None
    if list(table.columns) != list(METADATA_COLUMNS):
        raise UserError(f"{name} has the columns {', '.join(table.columns)}; expected {', '.join(METADATA_COLUMNS)}")
    if not pd.api.types.is_numeric_dtype(table["age"]):
        raise UserError(f"{name}: the column age holds something that is not a number; restore the file from Git")
    if table["image_id"].duplicated().any():
        raise UserError(f"{name}: image {table['image_id'][table['image_id'].duplicated()].iloc[0]} appears twice")
    return table


def _readable(path: Path, read: Callable[[Path], Any], remedy: str) -> Any:
    """What `read` makes of `path`."""
    try:
        return read(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{paths.relative(path)} cannot be read ({error!r}). {remedy}") from None


def _read_index(path: Path) -> pd.DataFrame:
    """The index of the prepared images; an unknown age is NaN."""
    return pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False, na_values={"age": [""]})
