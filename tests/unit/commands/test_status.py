"""Which stages wait for the next run, in a small pipeline of its own."""

import shutil
from pathlib import Path

import pytest

from skinlesions.commands import pipeline, status
from skinlesions.core.errors import UserError

PIPELINE = """
stages:
  images:
    cmd: mkdir -p data && cp raw.txt data/images.txt
    deps: [raw.txt]
    outs: [data/images.txt]
  train:
    foreach: [vgg16, resnet50]
    do:
      cmd: cp data/images.txt data/${item}.txt
      deps: [code.py, data/images.txt]
      params: [train.seed]
      outs: ["data/${item}.txt"]
  notes:
    cmd: cp notes.txt data/notes.txt
    deps: [notes.txt]
    outs: [data/notes.txt]
  report:
    cmd: mkdir reports && cp data/vgg16.txt reports/page.txt
    deps: [data/vgg16.txt, data/resnet50.txt]
    outs: [reports: {cache: false}]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The pipeline, run."""
    root = tmp_path_factory.mktemp("project") / "a folder é"
    (root / ".dvc").mkdir(parents=True)
    for name, text in (
        (".dvc/config", "[core]\n    no_scm = true\n    analytics = false\n"),
        ("dvc.yaml", PIPELINE),
        ("params.yaml", "train: {seed: 1}\n"),
        ("raw.txt", "raw"),
        ("code.py", "code"),
        ("notes.txt", "notes"),
    ):
        (root / name).write_text(text, encoding="utf-8")
    pipeline.repro(root)
    return root


@pytest.fixture
def clone(finished, tmp_path) -> Path:
    """The project as Git has it: with its report, without data."""
    root = tmp_path / "clone"
    shutil.copytree(finished, root, ignore=shutil.ignore_patterns("data", "cache", "tmp"))
    return root


def test_nothing_waits_after_a_run_nor_in_a_clone_without_data(finished, clone):
    assert pipeline.waiting(finished) == pipeline.waiting(clone) == {}
    assert "up to date" in status.described({})


@pytest.mark.parametrize(
    ("file", "old", "new", "first", "reason"),
    [
        ("raw.txt", "raw", "other", {"images"}, "raw.txt"),
        ("code.py", "code", "other", {"train@vgg16", "train@resnet50"}, "code.py"),
        ("params.yaml", "seed: 1", "seed: 2", {"train@vgg16", "train@resnet50"}, "train.seed 1 → 2 in params.yaml"),
        ("dvc.yaml", "cp data/images", "cp -f data/images", {"train@vgg16", "train@resnet50"}, "its command"),
        ("reports/page.txt", "raw", "edited", {"report"}, "its output reports"),
    ],
)
def test_what_changed_is_named_and_what_follows_waits_too(clone, file, old, new, first, reason):
    path = clone / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    found = pipeline.waiting(clone)
    assert {stage for stage, reasons in found.items() if reasons == [reason]} == first
    order = [{"images"}, {"train@vgg16", "train@resnet50"}, {"report"}]
    assert found.keys() == set().union(*order[order.index(first) :])
    text = status.described(found)
    assert all(stage in text for stage in found) and reason in text


def test_a_stage_that_never_ran_waits(clone):
    with (clone / "dvc.yaml").open("a") as stream:
        stream.write(
            "  another:\n    cmd: cp raw.txt data/another.txt\n    deps: [raw.txt]\n    outs: [data/another.txt]\n"
        )
    assert pipeline.waiting(clone).keys() == {"another"}


def test_the_stages_of_a_kind_that_wait_for_the_same_share_a_line():
    waiting = {f"train@{name}": ["a.py", *map(str, range(9))] for name in ("vgg16", "resnet50")} | {"report": ["a.py"]}
    assert len(status.described(waiting).splitlines()) == 3


def test_a_pipeline_that_cannot_be_read_or_fails_is_one_message(clone):
    (clone / "dvc.yaml").write_text("stages: {images: {cmd: 'false'}}")
    with pytest.raises(UserError, match="the stage above says why"):
        pipeline.repro(clone)
    (clone / "dvc.yaml").write_text("stages: [")
    with pytest.raises(UserError, match=r"(?s)DVC cannot tell.*dvc\.yaml"):
        pipeline.waiting(clone)
