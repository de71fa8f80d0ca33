"""Features that were computed elsewhere, in place of those of a backbone: one row per image, beside a table of names.

The rows may be in any order and are put in that of the prepared images. Nothing that was pickled is read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skinlesions.core import files, inputs, paths
from skinlesions.core.config import Embedding
from skinlesions.core.errors import SHOWN_FAULTS, UserError
from skinlesions.data import sheets

# What the column with the names of the images may be called.
ID_NAMES = ("image_id", "image", "isic_id", "image_name", "filename", "file", "path", "id")

DTYPES = ("float16", "float32", "float64")
MAXIMUM_WIDTH = 65_536

# Rows that are looked at a time.
CHUNK = 1_024

# What the provenance calls features whose weights nobody here has seen.
INITIALISATION = "embedding"


@dataclass(frozen=True)
class Given:
    """The two files of an embedding, read and checked.

    Attributes:
        name: of the backbone.
        features: float [M, D], finite, mapped from the file.
        image_ids: of the rows, M different ones.
        hashes: the SHA-256 of either file: features and ids.
    """

    name: str
    features: np.ndarray
    image_ids: list[str]
    hashes: dict[str, str]


def read(name: str, settings: Embedding) -> Given:
    """The embedding that `settings`, backbones.NAME of params.yaml, name.

    Raises:
        UserError: a file is absent, is not what it should be, or has the wrong hash.
    """
    key = f"backbones.{name}"
    features_file, ids_file = located(settings.features), located(settings.ids)
    features = _array(features_file, f"{key}.features")
    sheet = sheets.read(ids_file)
    column = 0 if len(sheet.header) == 1 else sheet.first(ID_NAMES)
    if column is None:
        raise UserError(
            f"{key}.ids: {sheet.name} has the columns {', '.join(sheet.header)}; expected one called {ID_NAMES[0]}"
        )
    stems = [(line, [sheets.stem(row[column])]) for line, row in sheet.rows]
    sheet.refuse(sheets.duplicates(stems, 0))
    if len(stems) != len(features):
        raise UserError(
            f"{key}: {paths.relative(features_file)} has {len(features):,} rows and {sheet.name} {len(stems):,} names "
            "below its header; row i of the one is the image in row i of the other"
        )
    hashes = {"features": files.sha256(features_file), "ids": files.sha256(ids_file)}
    if settings.sha256 is not None and hashes["features"] != settings.sha256:
        raise UserError(
            f"{key}.features: {paths.relative(features_file)} has SHA-256 {hashes['features']}, expected "
            f"{settings.sha256}; fetch the file again, or set {key}.sha256 to null to accept any"
        )
    _check_values(features, f"{key}.features: {paths.relative(features_file)}")
    return Given(name, features, [row[0] for _, row in stems], hashes)


def located(file: str) -> Path:
    """Where `file` is: a path from the folder of the project, or an absolute one."""
    return paths.ROOT / Path(file).expanduser()


def _array(path: Path, key: str) -> np.ndarray:
    """The array in `path`, mapped and not read."""
    shown = f"{key}: {paths.relative(path)}"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{shown} does not exist; put it there, or correct the path") from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{shown} is no .npy file of numbers ({error}); write it with numpy.save") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{shown} is an archive of arrays (.npz); write the one array with numpy.save")
    if array.dtype.name not in DTYPES:
        raise UserError(f"{shown} is of type {array.dtype}; expected {', '.join(DTYPES)}")
    if array.ndim != 2 or not len(array) or not 0 < array.shape[1] <= MAXIMUM_WIDTH:
        raise UserError(
            f"{shown} has the shape {array.shape}; expected two dimensions: images, and at most {MAXIMUM_WIDTH:,} "
            "features"
        )
    return array


def _check_values(features: np.ndarray, shown: str) -> None:
    """Refuse numbers that are none, that float16 cannot hold, or that are the same for every image."""
    constant = True
    for start in range(0, len(features), CHUNK):
        part = np.asarray(features[start : start + CHUNK])
        if not (finite := np.isfinite(part)).all():
            row, column = np.argwhere(~finite)[0]
            raise UserError(
                f"{shown}: row {start + row}, column {column} (from 0) is {part[row, column]}; every image needs a "
                "number in every column"
            )
        if np.abs(part).max() > np.finfo("float16").max:
            raise UserError(f"{shown}: a value is {np.abs(part).max():.3g}, more than float16 holds; scale all of them")
        constant = constant and bool((part == features[0]).all())
    if constant and len(features) > 1:
        raise UserError(f"{shown}: all rows are the same; compute the features of each image")


def prepared_ids() -> list[str]:
    """The names of the prepared images, in the order of their rows."""
    return sheets.read(paths.PREPARED_IDS).values(0)


def rows(given: Given, image_ids: Iterable[str]) -> np.ndarray:
    """The row number of every one of `image_ids`, int64 [N].

    Raises:
        UserError: an image has no row, or a row is of no image.
    """
    image_ids = list(image_ids)
    row_of = {image_id: row for row, image_id in enumerate(given.image_ids)}
    wanted = set(image_ids)
    missing = [image_id for image_id in image_ids if image_id not in row_of]
    extra = [image_id for image_id in given.image_ids if image_id not in wanted]
    key = f"backbones.{given.name}.ids"
    if missing:
        raise UserError(f"{key}: {len(missing):,} of {len(image_ids):,} images have no row: {_first(missing)}")
    if extra:
        raise UserError(f"{key}: {len(extra):,} rows are of no image of the run: {_first(extra)}; leave them out")
    return np.array([row_of[image_id] for image_id in image_ids], "int64")


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN_FAULTS]) + (", ..." if len(names) > SHOWN_FAULTS else "")


def record(given: Given, settings: Embedding) -> dict[str, str | int | None]:
    """What is known of the embedding, as skinlesions.models.pretrained says it of weights; no path of the machine."""
    return {
        "backbone": given.name,
        "architecture": None,
        "initialisation": INITIALISATION,
        "cut_at": None,
        "crop": None,
        "image_size": None,
        "pooling": None,
        "keras": None,
        "source": settings.origin or "an embedding computed elsewhere",
        "file": Path(settings.features).name,
        "sha256": given.hashes["features"],
        "ids_file": Path(settings.ids).name,
        "ids_sha256": given.hashes["ids"],
        "images": len(given.image_ids),
        "width": given.features.shape[1],
    }


def entry(name: str, settings: Embedding) -> inputs.Entry:
    """The files of the embedding and their MD5, as skinlesions.core.inputs keeps them.

    Raises:
        UserError: one of them is not there.
    """
    found = {}
    for key, file in (("features", settings.features), ("ids", settings.ids)):
        if not (path := located(file)).is_file():
            raise UserError(f"backbones.{name}.{key}: {paths.relative(path)} does not exist; put it there")
        found[path.name] = inputs.digest(path)
    return found


def is_here(settings: Embedding) -> bool:
    """Whether both files of the embedding are there."""
    return located(settings.features).is_file() and located(settings.ids).is_file()


def save(name: str, settings: Embedding) -> None:
    """Write, in place of weights, what the two files hash to, and the record of the embedding, under data/weights/.

    The stage `features` depends on the first, and so runs again when the files are others.
    """
    given = read(name, settings)
    files.write_json(paths.backbone_weights(name), given.hashes)
    files.write_json(paths.backbone_record(name), record(given, settings))


def extract(name: str, settings: Embedding, image_ids: Sequence[str], target: Path) -> None:
    """Write the features of `image_ids`, in their order, to `target`, a .npy file of float16 [N, D].

    Raises:
        UserError: the files are not those that the stage `weights` saw, or do not have exactly these images.
    """
    given = read(name, settings)
    if given.hashes != files.read_json(paths.backbone_weights(name)):
        raise UserError(f"backbones.{name}: its files are others than those read before. {inputs.REMEDY}")
    order = rows(given, image_ids)
    files.write_array(target, np.asarray(given.features)[order].astype("float16"))


def faults(name: str, settings: Embedding, image_ids: Sequence[str] | None) -> list[str]:
    """What is wrong with the embedding, before anything runs.

    Args:
        image_ids: those of the run, where they are known.
    """
    try:
        given = read(name, settings)
        if image_ids is not None:
            rows(given, image_ids)
    except UserError as error:
        return [str(error)]
    return []
