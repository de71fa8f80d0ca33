"""The demonstration runs in a copy that has every file of the working tree but what was published from it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from skinlesions.commands import demo
from skinlesions.core import config, exclusive, paths
from skinlesions.core.errors import UserError


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A small project under Git: committed, changed, new, ignored and deleted files, and a published report."""
    root = tmp_path / "project"
    contents = {
        "params.yaml": paths.PARAMS.read_text(),
        "presets/sample.yaml": (paths.ROOT / "presets" / "sample.yaml").read_text(),
        "dvc.lock": "stages: {}",
        ".dvc/config": "[core]\n    analytics = false\n",
        ".gitignore": "/build/\n*.tmp\n",
        "skinlesions/größe 1.py": "committed",
        "skinlesions/deleted.py": "committed",
        "reports/index.html": "published",
        "reports/tables/compare/comparison.csv": "published",
        "models/published/model.json": "published",
        "notes/reports/kept.md": "not the report",
        "notes/dvc.lock": "not the lock file",
    }
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    (root / "skinlesions" / "größe 1.py").write_text("edited")
    (root / "skinlesions" / "new.py").write_text("new")
    (root / "skinlesions" / "deleted.py").unlink()
    (root / "scratch.tmp").write_text("ignored")
    monkeypatch.setattr(paths, "ROOT", root)
    return root


EXPECTED = {
    "params.yaml",
    "presets/sample.yaml",
    ".dvc/config",
    ".gitignore",
    "skinlesions/größe 1.py",
    "skinlesions/new.py",
    "notes/reports/kept.md",
    "notes/dvc.lock",
}


def tree(folder: Path) -> dict[str, str]:
    """Every file below `folder` but those of Git itself."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def test_the_files_are_those_of_the_working_tree_without_the_report(root):
    names = demo.files_to_copy()
    assert set(names) == EXPECTED and len(names) == len(EXPECTED)


def test_of_this_project_neither_report_nor_data_are_copied():
    names = demo.files_to_copy()
    assert {"params.yaml", "dvc.yaml", "skinlesions/commands/demo.py", ".dvc/config"} <= set(names)
    unwanted = ("reports/", "models/", "build/", ".venv/", "data/raw/", "data/train/", "data/models/", ".dvc/cache")
    assert not [name for name in names if name.startswith(unwanted) or name == "dvc.lock"]


def test_the_copy_has_the_edits_and_the_original_is_untouched(root):
    before, target = tree(root), root / "build" / "demo"
    demo.copy_tree(target)
    copied = tree(target)
    assert set(copied) == EXPECTED | {".dvc/config.local"}
    assert copied["skinlesions/größe 1.py"] == "edited"
    assert "no_scm = true" in copied[".dvc/config.local"]
    assert {name: text for name, text in tree(root).items() if not name.startswith("build/")} == before


def test_the_copy_is_fresh_every_time(root):
    target = root / "build" / "demo"
    demo.copy_tree(target)
    (target / "left over.txt").write_text("from the last time")
    (target / "params.yaml").write_text("changed by the last time")
    demo.copy_tree(target)
    assert set(tree(target)) == EXPECTED | {".dvc/config.local"}
    assert tree(target)["params.yaml"] == tree(root)["params.yaml"]


@pytest.mark.parametrize("where", [".", "..", "build", "build/../data", "skinlesions", "buildings/demo", "/nowhere"])
def test_folders_outside_build_are_not_emptied(root, where, monkeypatch):
    monkeypatch.chdir(root)
    before = tree(root)
    for target in (root / where, Path(where)):
        with pytest.raises(UserError, match=r"is not under build/, so it is not emptied"):
            demo.copy_tree(target)
    assert tree(root) == before


def test_a_link_out_of_build_is_not_followed(root):
    (root / "build").mkdir()
    (root / "build" / "link").symlink_to(root / "skinlesions")
    with pytest.raises(UserError, match="is not under build/"):
        demo.copy_tree(root / "build" / "link")
    assert (root / "skinlesions" / "new.py").exists()


def test_without_git_the_message_says_so(root, monkeypatch):
    shutil.rmtree(root / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(root.parent))
    with pytest.raises(UserError, match=r"git cannot list the files of this project .*; clone it with git"):
        demo.files_to_copy()
    monkeypatch.setenv("PATH", str(root))
    with pytest.raises(UserError, match="git cannot list"):
        demo.files_to_copy()


def test_a_pipeline_that_fails_ends_the_demonstration_with_one_message(root):
    """There is no dvc.yaml in this project."""
    before = (root / "params.yaml").read_bytes()
    with pytest.raises(UserError, match=r"the pipeline failed in .*demo; the stage above says why"):
        demo.demonstrate(root / "presets" / "sample.yaml", root / "build" / "demo")
    assert config.load(root / "build" / "demo" / "params.yaml").data.source == "sample"
    assert (root / "params.yaml").read_bytes() == before


def test_a_preset_that_is_not_there_is_named(root):
    with pytest.raises(UserError, match=r"absent\.yaml does not exist"):
        demo.demonstrate(root / "presets" / "absent.yaml", root / "build" / "demo")


def test_a_second_demonstration_in_the_folder_is_told_of_the_first(root):
    """It must not empty what the first one is working on."""
    target = root / "build" / "demo"
    demo.copy_tree(target)
    with (
        exclusive.alone(root / "build" / ".demo.lock", "a demonstration"),
        pytest.raises(UserError, match="already going on: process"),
    ):
        demo.demonstrate(root / "presets" / "sample.yaml", target)
    assert (target / "params.yaml").exists()
