"""What the key of unfinished work holds: a change of anything that a result depends on gives another."""

import os
import shutil

import keras
import pytest

from skinlesions.core import paths
from skinlesions.models import resumption

MODULE = "skinlesions.stages.features"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A copy of the code, and a file that is read."""
    root = tmp_path / "project"
    shutil.copytree(paths.ROOT / "skinlesions", root / "skinlesions", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(paths, "ROOT", root)
    (root / "images.npy").write_bytes(b"pixels")
    return root


def key(module: str = MODULE, **settings: object) -> dict[str, object]:
    return resumption.key(module, [paths.ROOT / "images.npy"], **{"batch_size": 2} | settings)


def test_opening_files_and_changing_what_is_not_imported_leaves_the_key(project):
    before = key()
    for path in project.rglob("*.*"):
        os.utime(path, (1, 1))
    (project / "skinlesions" / "evaluation" / "metrics.py").write_text("# not what features need")
    assert key() == before


# Of the imports of the stage: itself, what it imports, and what that imports.
@pytest.mark.parametrize(
    "file",
    ["images.npy", *(f"skinlesions/{name}.py" for name in ("stages/features", "models/features", "data/images"))],
)
def test_a_changed_file_gives_another_key(project, file: str):
    before = key()
    with (project / file).open("a") as stream:
        stream.write("# another version\n")
    assert key() != before


def test_other_settings_another_keras_and_another_backend_give_other_keys(monkeypatch):
    before = key()
    assert key(batch_size=3) != before != key(skip=True)
    assert before["versions"].keys() == {"keras", "numpy", keras.backend.backend()}
    monkeypatch.setattr(keras, "__version__", "0.0.1")
    assert key() != before


def test_files_of_one_name_are_told_apart(project):
    code = resumption.key("skinlesions.training.assembly", [])["code"]
    assert {"skinlesions/models/heads.py", "skinlesions/evaluation/metrics.py"} <= set(code)
    assert len(key("skinlesions.stages.features")["code"]) < len(code)
