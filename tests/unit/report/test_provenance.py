"""What the report says about where its numbers come from."""

import json
import platform
import re
import subprocess

import keras
import pytest

from skinlesions.core import files, paths
from skinlesions.report import provenance
from tests.unit.report import standin


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("build/\n")
    for name in ("code.py", "dvc.lock", "reports/index.html"):
        files.write_text(tmp_path / name, "one\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_the_commit_is_that_of_the_code(repository):
    clean = {"commit": git(repository, "rev-parse", "HEAD"), "uncommitted_changes": False}
    assert provenance.code(repository) == clean
    (repository / "dvc.lock").write_text("two\n")
    (repository / "reports" / "index.html").write_text("two\n")
    (repository / "reports" / "new.html").write_text("two\n")
    assert provenance.code(repository) == clean, "what the pipeline writes is no change of the code"
    (repository / "code.py").write_text("two\n")
    assert provenance.code(repository) == clean | {"uncommitted_changes": True}
    git(repository, "checkout", "-q", "code.py")
    (repository / "more.py").write_text("new\n")
    assert provenance.code(repository) == clean | {"uncommitted_changes": True}


def test_without_a_repository_of_its_own_there_is_no_commit(repository, tmp_path_factory):
    unknown = {"commit": None, "uncommitted_changes": None}
    assert provenance.code(tmp_path_factory.mktemp("plain")) == unknown
    copy = repository / "build" / "demo"
    copy.mkdir(parents=True)
    assert provenance.code(copy) == unknown
    empty = tmp_path_factory.mktemp("empty")
    git(empty, "init", "-q")
    assert provenance.code(empty) == unknown


def test_versions_are_those_of_the_direct_dependencies():
    versions = provenance.packages(paths.ROOT / "requirements.in")
    assert versions["keras"] == keras.__version__
    assert {"numpy", "tensorflow", "dvc", "pyyaml"} <= versions.keys()
    assert all(re.match(r"\d", version) for version in versions.values())


def test_the_record_is_complete_and_names_no_machine(tmp_path):
    chosen = standin.parameters()
    outside = {"images": str(tmp_path / "outside"), "ground_truth": str(tmp_path / "outside" / "truth.csv")}
    outside = chosen.data.external.model_copy(update=outside)
    own = chosen.data.model_copy(update={"folder": str(tmp_path / "ham10000"), "external": outside})
    chosen = chosen.model_copy(update={"data": own})
    record = {"source": "ham10000", "origin": "a local folder", "note": "", "files": [], "images": 1, "lesions": 1}
    files.write_json(tmp_path / "raw" / "source.json", record)
    files.write_text(tmp_path / "raw" / "manifest.csv", "image_id\n")
    for name in ("resnet50", "from_an_earlier_run"):
        files.write_json(tmp_path / "weights" / f"{name}.json", {"backbone": name})
    assert provenance.collect(tmp_path, chosen)["external"] is None
    files.write_json(tmp_path / "external_raw" / "source.json", {"name": "outside.zip", "images": 0})
    assert provenance.collect(tmp_path, chosen)["external"] is None, "none was asked for"
    files.write_text(tmp_path / "external_raw" / "manifest.csv", "image_id\n")
    collected = provenance.collect(tmp_path, chosen)
    assert collected["external"]["name"] == "outside.zip"
    assert collected["external"]["manifest_sha256"] == files.sha256(tmp_path / "external_raw" / "manifest.csv")
    assert collected["parameters"]["data"]["folder"] == "ham10000"
    assert collected["parameters"]["data"]["external"]["ground_truth"] == "truth.csv"
    assert collected["parameters"]["compare"]["resamples"] == chosen.compare.resamples
    assert collected["data"] == record | {"manifest_sha256": files.sha256(tmp_path / "raw" / "manifest.csv")}
    assert collected["weights"] == {"resnet50": {"backbone": "resnet50"}}
    assert collected["software"]["python"] == platform.python_version()
    assert re.search(r"CPU, \d+ cores?, \w+$", collected["hardware"])
    text = json.dumps(collected)
    assert platform.node() not in text
    assert str(tmp_path) not in text
