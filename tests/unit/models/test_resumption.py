"""What the key of unfinished work holds: a change of anything that a result depends on gives another."""

import os

import keras
import pytest

from skinlesions.core import paths
from skinlesions.models import resumption
from tests.helpers.project import copy_code

MODULE = "skinlesions.stages.features"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A copy of the code, and a file that is read."""
    copy_code(tmp_path)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "images.npy").write_bytes(b"pixels")
    return tmp_path


def key(module: str = MODULE, **settings: object) -> dict[str, object]:
    return resumption.key(module, [paths.ROOT / "images.npy"], **{"batch_size": 2} | settings)


def test_opening_files_and_changing_what_is_not_imported_leaves_the_key(root):
    before = key()
    for path in root.rglob("*.*"):
        os.utime(path, (1, 1))
    (root / "skinlesions" / "evaluation" / "metrics.py").write_text("# not what features need")
    assert key() == before


# Of the imports of the stage: itself, what it imports, and what that imports.
@pytest.mark.parametrize(
    "file",
    ["images.npy", *(f"skinlesions/{name}.py" for name in ("stages/features", "models/features", "data/images"))],
)
def test_a_changed_file_gives_another_key(root, file: str):
    before = key()
    with (root / file).open("a") as stream:
        stream.write("# another version\n")
    assert key() != before


def test_other_settings_another_keras_and_another_backend_give_other_keys(monkeypatch):
    before = key()
    assert key(batch_size=3) != before != key(skip=True)
    assert before["versions"].keys() == {"keras", "numpy", keras.backend.backend()}
    monkeypatch.setattr(keras, "__version__", "0.0.1")
    assert key() != before


def test_the_code_of_a_training_is_all_that_it_imports():
    code = resumption.key("skinlesions.training.assembly", [])["code"]
    assert {"skinlesions/models/heads.py", "skinlesions/evaluation/metrics.py"} <= set(code)
    assert len(key("skinlesions.stages.features")["code"]) < len(code)
