"""The stage as it is run: `python -m skinlesions.stages.data` in a copy of the code, with its own params.yaml."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from skinlesions.core import config, paths
from skinlesions.core.files import read_json
from skinlesions.data.sources import dataverse, sample
from skinlesions.data.sources.dataverse import PublishedFile
from skinlesions.stages import data
from tests.helpers.dataverse_server import DOI, Dataverse, serving
from tests.helpers.killing import killed_after
from tests.helpers.project import copy_code, write_params
from tests.helpers.raw_files import IMAGES, dataverse_folder, table, write_zip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository without data."""
    root = copy_code(tmp_path / "repository")
    set_params(root, source="ham10000")
    return root


def set_params(root: Path, **values: object) -> None:
    """Change values of the data block of params.yaml."""
    document = config.read_yaml(root / "params.yaml")
    document["data"] |= values
    write_params(root, document)


def environment(**variables: str) -> dict[str, str]:
    """Without a folder of the real data, and with a proxy at which nobody listens in place of the network."""
    kept = {name: value for name, value in os.environ.items() if name != "HAM10000_DIR" and "proxy" not in name.lower()}
    return kept | {"HTTPS_PROXY": "http://127.0.0.1:9", "PYTHONDONTWRITEBYTECODE": "1"} | variables


def run(root: Path, stage: str = "data", **variables: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", f"skinlesions.stages.{stage}")
    return subprocess.run(
        command, cwd=root, env=environment(**variables), capture_output=True, text=True, timeout=120, check=False
    )


def tree(folder: Path) -> dict[str, str]:
    """The hash of every file below `folder`."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_folder_from_the_environment_or_from_the_parameters(root):
    folder = dataverse_folder(root.parent / "ham10000")
    result = run(root, HAM10000_DIR="../ham10000")
    assert (result.returncode, result.stdout) == (0, "")
    assert "4/4" in result.stderr
    raw = root / "data" / "raw"
    assert {path.stem: path.read_bytes() for path in (raw / "images").iterdir()} == IMAGES
    source = read_json(raw / "source.json")
    assert (source["source"], source["origin"], source["note"]) == ("ham10000", "a local folder", "")
    assert (source["images"], source["lesions"]) == (4, 3)
    assert {file["name"]: file["sha256"] for file in source["files"]} == {
        name: digest for name, digest in tree(folder).items() if name.startswith("HAM10000")
    }
    first = tree(raw)
    shutil.rmtree(raw)
    set_params(root, folder=str(folder))
    assert run(root, HAM10000_DIR="/nowhere").returncode == 0  # the parameter goes first
    assert tree(raw) == first


def test_faults_in_names_are_found_before_images_are_read(root):
    folder = dataverse_folder(root.parent / "ham10000")
    write_zip(folder / "HAM10000_images_part_2.zip", {"ISIC_3.jpg": b"not an image", "ISIC_5.jpg": b"nor this"})
    result = run(root, HAM10000_DIR=str(folder))
    assert result.returncode == 1
    assert "ISIC_5.jpg has no row in" in result.stderr and "image 'ISIC_4' has a row but no file" in result.stderr
    assert "does not decode" not in result.stderr and "Traceback" not in result.stderr
    assert not (root / "data").exists()


def test_an_image_that_does_not_decode_is_named(root):
    folder = dataverse_folder(root.parent / "ham10000")
    write_zip(folder / "HAM10000_images_part_2.zip", {"ISIC_3.jpg": IMAGES["ISIC_3"][:-99], "ISIC_4.jpg": b""})
    result = run(root, HAM10000_DIR=str(folder))
    assert result.returncode == 1
    assert "images: 2 faults" in result.stderr
    assert re.search(r"part_2\.zip, member ISIC_3\.jpg does not decode", result.stderr)
    assert not (root / "data" / "raw").exists()


def test_without_folder_and_network_the_three_ways_out_are_named(root):
    result = run(root)
    assert result.returncode == 1
    assert result.stderr.startswith("error: https://dataverse.harvard.edu cannot be reached (")
    assert all(way in result.stderr for way in ("HAM10000_DIR=FOLDER", "data.folder", "the network", "`make demo`"))
    assert "Traceback" not in result.stderr


def test_the_sample_goes_on_after_a_kill_at_any_moment(root):
    set_params(root, source="sample", sample_images=100, sample_seed=2018)
    killed = subprocess.run(killed_after(5, "data"), cwd=root, env=environment(), stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    raw = root / "data" / "raw"
    assert list((root / "data" / "partial" / "raw" / "images").glob("*.jpg"))
    assert not raw.exists()
    assert run(root).returncode == 0
    metadata = sample.metadata(100, 2018)
    rows = metadata[metadata["lesion_id"].isin(metadata["lesion_id"].unique()[:5])]
    for image_id, content in sample.images(rows, 2018):  # another process draws the same bytes
        assert (raw / "images" / f"{image_id}.jpg").read_bytes() == content
    assert len(tree(raw)) == 103
    source = read_json(raw / "source.json")
    assert source["source"] == "sample" and source["files"] == [] and "Synthetic" in source["note"]
    assert list((root / "data" / "partial").iterdir()) == []


EXTERNAL = {
    "images": "ISIC2018_Task3_Validation_Input.zip",
    "ground_truth": "ISIC2018_Task3_Validation_GroundTruth.csv",
}


def test_an_external_set_that_is_not_there_stops_the_first_stage_before_anything_is_read(root):
    folder = dataverse_folder(root.parent / "ham10000")
    set_params(root, external=EXTERNAL | {"images": "ISIC2018_Task3_Val.zip"})
    result = run(root, HAM10000_DIR=str(folder))
    assert result.returncode == 1
    assert "data.external.images: 'ISIC2018_Task3_Val.zip' is not there" in result.stderr
    assert EXTERNAL["images"] in result.stderr and "null" in result.stderr and "Traceback" not in result.stderr
    assert not (root / "data").exists()


def test_the_external_set_has_a_stage_of_its_own_and_leaves_the_raw_data_as_they_are(root):
    folder = dataverse_folder(root.parent / "ham10000")
    (folder / EXTERNAL["ground_truth"]).write_text("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_9,0,0,0,0,0,1,0\n")
    set_params(root, external=EXTERNAL)
    assert run(root, HAM10000_DIR=str(folder)).returncode == 0
    before = tree(root / "data" / "raw")
    result = run(root, "external_data", HAM10000_DIR=str(folder))
    assert (result.returncode, result.stdout) == (0, "")
    external = root / "data" / "external_raw"
    assert pd.read_csv(external / "metadata.csv").to_dict("records") == [
        {"image_id": "ISIC_9", "lesion_id": "ISIC_9", "dx": "df"}
    ]
    first = tree(external)
    assert run(root, "external_data", HAM10000_DIR=str(folder)).returncode == 0
    assert tree(external) == first
    set_params(root, external=None)
    assert run(root, "external_data").returncode == 0
    assert list(tree(external)) == ["source.json"]
    assert tree(root / "data" / "raw") == before


def test_the_sample_has_no_external_set(root):
    set_params(root, source="sample", external=EXTERNAL)
    result = run(root)
    assert result.returncode == 1
    assert "models of the synthetic sample have no external set; set it to null" in result.stderr


def test_a_download_becomes_raw_data(tmp_path, monkeypatch):
    folder = dataverse_folder(tmp_path / "published")
    offered = {
        "HAM10000_metadata.tab": table(quote='"').encode(),
        "HAM10000_images_part_1.zip": (folder / "HAM10000_images_part_1.zip").read_bytes(),
        "HAM10000_images_part_2.zip": (folder / "HAM10000_images_part_2.zip").read_bytes(),
    }
    published = tuple(
        PublishedFile(
            name.replace(".tab", ".csv"),
            len(content),
            hashlib.md5(content).hexdigest(),
            hashlib.sha256(content).hexdigest(),
        )
        for name, content in offered.items()
    )
    monkeypatch.setattr(paths, "RAW", tmp_path / "data" / "raw")
    monkeypatch.setattr(paths, "PARTIAL", tmp_path / "data" / "partial")
    monkeypatch.setattr(dataverse, "DOI", DOI)
    monkeypatch.setattr(dataverse, "FILES", published)
    with serving(Dataverse(offered)) as server:
        monkeypatch.setattr(dataverse, "BASE_URL", server.url)
        data.from_dataverse()
    assert {path.stem: path.read_bytes() for path in (paths.RAW / "images").iterdir()} == IMAGES
    source = read_json(paths.RAW / "source.json")
    assert source["origin"] == f"downloaded, byte for byte the files of Harvard Dataverse, {DOI}"
    shutil.rmtree(paths.RAW)
    data.from_dataverse()  # the server is gone, the download is not
    assert len(list((paths.RAW / "images").iterdir())) == 4
