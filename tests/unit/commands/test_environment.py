"""Which files from outside a run reads, and that another one makes its stage wait, in DVC's own eyes."""

import shutil
import sys
from pathlib import Path

import pytest

from skinlesions.commands import environment, pipeline
from skinlesions.core import files, inputs, paths
from skinlesions.core.errors import UserError
from skinlesions.data.sources import dataverse
from skinlesions.models import weights_files
from skinlesions.stages import data, external_data, weights
from tests.helpers import project
from tests.helpers.raw_files import dataverse_folder, jpeg, parts, table, write_files

PIPELINE = """
stages:
  data:
    cmd: mkdir -p data && echo raw > data/raw
    params: [inputs.yaml: [ham10000]]
    outs: [data/raw]
  weights:
    foreach: {vgg16: 1, resnet50: 2}
    do:
      cmd: mkdir -p data && echo ${key} > data/${key}
      params: [inputs.yaml: ["weights.${key}"]]
      outs: ["data/${key}"]
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Nothing of the user's: neither his folders nor what was hashed before."""
    monkeypatch.setattr(inputs, "KNOWN", tmp_path / "digests")
    monkeypatch.delenv("HAM10000_DIR", raising=False)
    monkeypatch.delenv(weights_files.FOLDER_VARIABLE, raising=False)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "inputs.yaml"


def settings(**changes):
    """Real images, and two backbones with weights."""
    values = project.tiny()
    values["data"] |= {"source": "ham10000"} | changes
    values["backbones"] = {"vgg16": {"weights": "imagenet"}, "resnet50": {"weights": "imagenet"}}
    values["models"]["vgg16"] = {"inputs": "features/vgg16.npy"}
    return project.config.validate(values)


def own_set(folder):
    """Images and diagnoses that are nobody else's, as data.external names them."""
    write_files(folder, {"ground_truth.csv": b"image_id,dx\nA,nv\n"})
    write_files(folder / "own", {"A.jpg": jpeg(1)})
    return {"images": str(folder / "own"), "ground_truth": str(folder / "ground_truth.csv")}


def kept(file, settings, running=()):
    environment.renew_inputs(settings, file, running)
    return inputs.recorded(file)


def test_the_sample_and_random_weights_need_nothing(file):
    assert kept(file, project.settings()) == {"ham10000": {}, "external_set": {}, "weights.vgg16": {}}


def test_what_would_be_downloaded_is_known_without_a_download(file):
    found = kept(file, settings())
    assert found["ham10000"] == {published.name: published.md5 for published in dataverse.FILES}
    assert found["weights.vgg16"] == weights_files.OF_KERAS


def test_files_that_are_here_are_named_without_their_folder_and_in_any_layout(tmp_path, file, monkeypatch):
    folder = dataverse_folder(tmp_path / "downloaded by hand")
    found = kept(file, settings(folder=str(folder)))["ham10000"]
    assert set(found) == {"HAM10000_metadata.csv", "HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip"}
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.setenv("HAM10000_DIR", str(tmp_path / "copy"))
    assert environment.renew_inputs(settings(), file) == {}
    assert str(tmp_path) not in file.read_text()
    flat = tmp_path / "flat"
    write_files(flat, {"HAM10000_metadata.csv": table().encode()} | parts()[0] | parts()[1])
    loose = kept(file, settings(folder=str(flat)))["ham10000"]
    assert set(loose) == {"HAM10000_metadata.csv", "images"}
    image = next(iter(sorted(flat.glob("*.jpg"))))
    image.write_bytes(image.read_bytes() + b"\0")
    assert kept(file, settings(folder=str(flat)))["ham10000"]["images"] != loose["images"]


def test_an_external_set_of_ones_own_is_an_input(tmp_path, file):
    chosen = own_set(tmp_path / "mine")
    table = Path(chosen["ground_truth"])
    found = kept(file, settings(external=chosen))["external_set"]
    assert set(found) == {table.name, "images"} and str(tmp_path) not in file.read_text()
    table.write_text("other")
    assert kept(file, settings(external=chosen))["external_set"] != found


def test_what_is_not_here_keeps_its_entry_until_its_stage_runs(tmp_path, file, monkeypatch):
    """In a clone of a run from local files, a stranger without any is not told that everything has changed."""
    published = {"ham10000": {"a.zip": "1"}, "external_set": {}, "weights.vgg16": {"b.h5": "2"}}
    inputs.renew(published | {"weights.resnet50": {}}, file)
    assert kept(file, settings()) == published | {"weights.resnet50": {}}
    running = kept(file, settings(), {"data", "weights@vgg16"})
    assert running["weights.vgg16"] == weights_files.OF_KERAS
    assert set(running["ham10000"]) == {own.name for own in dataverse.FILES}
    # A folder that is there decides, even where it lacks one file.
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vgg16.h5").write_text("own")
    monkeypatch.setenv(weights_files.FOLDER_VARIABLE, str(tmp_path / "weights"))
    found = kept(file, settings())
    assert set(found["weights.vgg16"]) == {"vgg16.h5"} and found["weights.resnet50"] == weights_files.OF_KERAS
    # One that lacks what it should have is said by the check, and is no other input.
    assert kept(file, settings(folder=str(tmp_path / "weights")))["ham10000"] == running["ham10000"]


def test_another_file_makes_its_stage_wait_and_no_other_and_dvc_runs_it(tmp_path, file, monkeypatch):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    own = tmp_path / "weights"
    own.mkdir()
    for name in ("vgg16", "resnet50"):
        (own / f"{name}.h5").write_text(name)
    monkeypatch.setenv(weights_files.FOLDER_VARIABLE, str(own))
    chosen = settings(folder=str(dataverse_folder(tmp_path / "images")))
    environment.renew_inputs(chosen, file)
    pipeline.repro(tmp_path)
    assert pipeline.waiting(tmp_path) == {}
    before = inputs.recorded(file)["weights.vgg16"]["vgg16.h5"]
    (own / "vgg16.h5").write_text("another")
    environment.renew_inputs(chosen, file)
    (reason,) = pipeline.waiting(tmp_path).pop("weights@vgg16")
    after = inputs.recorded(file)["weights.vgg16"]["vgg16.h5"]
    assert reason == f"weights.vgg16.vgg16.h5 {before} → {after} in inputs.yaml"
    assert pipeline.waiting(tmp_path).keys() == {"weights@vgg16"}
    pipeline.repro(tmp_path)
    assert pipeline.waiting(tmp_path) == {}


@pytest.mark.parametrize("stage", ["data", "external_data", "weights"])
def test_a_stage_refuses_other_files_than_those_that_are_recorded(tmp_path, file, monkeypatch, stage):
    """As with a plain `dvc repro` from another folder: the message says what to do."""
    values = project.tiny()
    values["data"] |= {
        "source": "ham10000",
        "folder": str(dataverse_folder(tmp_path / "images")),
        "external": own_set(tmp_path / "mine"),
    }
    project.write_params(tmp_path, values)
    key = {"data": "ham10000", "external_data": "external_set", "weights": "weights.vgg16"}[stage]
    other = {"ham10000": {}, "external_set": {}, "weights.vgg16": {}} | {key: {"other.h5": "1" * 32}}
    inputs.renew(other, file)
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params.yaml")
    monkeypatch.setattr(inputs.check, "__defaults__", (file,))
    monkeypatch.setattr(sys, "argv", ["stage", "vgg16"])
    module = {"data": data, "external_data": external_data, "weights": weights}[stage]
    with pytest.raises(UserError, match=r"are others than .*inputs\.yaml says: .*other\.h5.*make report"):
        module.main()


def test_the_files_of_an_embedding_are_inputs_and_keep_their_entry_where_they_are_absent(file, tmp_path):
    write_files(tmp_path, {"own.npy": b"rows", "own.csv": b"names"})
    wanted = settings(source="sample")
    own = project.config.Embedding(features=str(tmp_path / "own.npy"), ids=str(tmp_path / "own.csv"))
    wanted = wanted.model_copy(update={"backbones": {"own": own}})
    environment.renew_inputs(wanted, file)
    entry = {name: files.md5(tmp_path / name) for name in ("own.npy", "own.csv")}
    assert inputs.recorded(file)["weights.own"] == entry
    write_files(tmp_path, {"own.npy": b"other rows"})
    assert list(environment.renew_inputs(wanted, file)) == ["weights.own"]
    (tmp_path / "own.csv").unlink()
    assert environment.renew_inputs(wanted, file) == {}
