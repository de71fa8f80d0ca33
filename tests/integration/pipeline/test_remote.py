"""What DVC keeps goes through a remote into another clone, where nothing is out of date; what Git has does not."""

import shutil
from pathlib import Path

import pytest

from skinlesions.core import paths

from .conftest import FINISHED, Project

# The two kinds of output that the pipeline has: DVC's, and one that Git gets.
PIPELINE = """
stages:
  train:
    cmd: mkdir -p data/train data/models && echo numbers > data/train/a.csv && echo weights > data/models/a.h5
    outs:
      - data/train
      - data/models
  report:
    cmd: mkdir -p reports && cp data/train/a.csv reports/table.csv
    deps:
      - data/train
    outs:
      - reports:
          cache: false
          persist: true
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A pipeline of two stages with this project's settings of DVC and Git, run and committed."""
    root = tmp_path / "a project"
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "data/.gitignore"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(paths.ROOT / name, root / name)
    (root / "dvc.yaml").write_text(PIPELINE)
    own = Project(root)
    own.succeeds("git", "init", "--quiet", "--initial-branch", "main")
    own.dvc("repro")
    own.commit()
    return own


def test_a_clone_gets_the_outputs_from_a_remote_and_is_up_to_date(project: Project, tmp_path: Path):
    store = tmp_path / "a store"
    project.dvc("remote", "add", "--local", "--default", "store", str(store))
    project.dvc("push")
    pushed = {path.read_bytes() for path in store.rglob("*") if path.is_file()}
    # Two files, and the lists of the two folders; the table is Git's.
    assert {b"numbers\n", b"weights\n"} <= pushed and len(pushed) == 4
    assert project.succeeds("git", "status", "--porcelain") == "", "where the store is stays out of Git"

    clone = Project(tmp_path / "clone")
    project.succeeds("git", "clone", "--quiet", str(project.root), str(clone.root))
    assert (clone.root / "reports" / "table.csv").exists() and not (clone.root / "data" / "models").exists()
    clone.dvc("remote", "add", "--local", "--default", "store", str(store))
    clone.dvc("pull", "train")
    assert (clone.root / "data" / "models" / "a.h5").read_text() == "weights\n"
    clone.dvc("pull")
    assert FINISHED in clone.dvc("status") and FINISHED in clone.dvc("repro")
