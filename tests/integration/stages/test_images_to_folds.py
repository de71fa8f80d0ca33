"""The stages prepare, split, weights and features as they are run, one after the other, in a copy of the code."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinlesions.core import files, presets
from skinlesions.core.classes import CLASSES, INDEX_COLUMNS, METADATA_COLUMNS, read_index
from skinlesions.data import images, splits
from skinlesions.models import backbones, features
from tests.helpers.killing import killed_after
from tests.helpers.project import copy_code, tiny, write_params
from tests.helpers.synthetic import synthetic_index

# On top of the smallest configuration: images of 48 pixels, three folds, VGG16 with random weights at 32 pixels.
CHANGES = {
    "prepare": {"fit": "pad"},
    "split": {"seed": 5},
    "features": {"batch_size": 2},
    "backbones": {"vgg16": {"cut_at": "block2_pool"}},
}

# Two rows of the index, of different lesions and one diagnosis, that show the same photograph.
COPIED = (3, 4)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}


def run(root: Path, stage: str, *arguments: str) -> tuple[int, str]:
    """The exit code and what the stage printed."""
    command = [sys.executable, "-m", f"skinlesions.stages.{stage}", *arguments]
    finished = subprocess.run(command, cwd=root, env=environment(), text=True, stderr=subprocess.PIPE, timeout=300)
    return finished.returncode, finished.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the code with raw data of its own: about 250 noisy images."""
    root = copy_code(tmp_path_factory.mktemp("project"), presets.merged(tiny(), CHANGES))
    index = synthetic_index(dict.fromkeys(CLASSES, 20))
    index = index.assign(dx_type="histo", age=np.where(index.index % 9, 45.0, np.nan), sex="male", localization="back")
    files.write_csv(root / "data" / "raw" / "metadata.csv", index[list(METADATA_COLUMNS)])
    folder = root / "data" / "raw" / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for row, image_id in enumerate(index["image_id"]):
        if row == COPIED[1]:
            shutil.copy(folder / f"{index['image_id'][COPIED[0]]}.jpg", folder / f"{image_id}.jpg")
            continue
        buffer = io.BytesIO()
        coarse = random.integers(0, 256, (6, 8, 3), dtype="uint8")
        Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC).save(buffer, "JPEG")
        (folder / f"{image_id}.jpg").write_bytes(buffer.getvalue())
    return root


@pytest.fixture(scope="module")
def prepared(project) -> Path:
    code, printed = run(project, "prepare")
    assert code == 0, printed
    return project / "data" / "prepared"


def test_row_i_of_the_index_describes_image_i(project, prepared):
    index = read_index(prepared / "index.csv")
    assert index.columns.tolist() == list(INDEX_COLUMNS)
    raw = read_index(project / "data" / "raw" / "metadata.csv")
    pd.testing.assert_frame_equal(index, raw[list(INDEX_COLUMNS)])
    pixels = files.read_array(prepared / "images.npy", memory_map=True)
    assert pixels.shape == (len(index), 48, 48, 3)
    for row in range(0, len(index), 10):
        path = project / "data" / "raw" / "images" / f"{index['image_id'][row]}.jpg"
        np.testing.assert_array_equal(pixels[row], images.read(path, 48, "pad"))


@pytest.fixture
def features_of_noise(project, prepared) -> Path:
    """Features that make every image as like as any other, but for two of different lesions, which get the same."""
    target = project / "data" / "features" / "vgg16.npy"
    features = np.random.default_rng(0).normal(size=(len(read_index(prepared / "index.csv")), 16)).astype("float16")
    features[COPIED[1]] = features[COPIED[0]]
    files.write_array(target, features)
    yield target
    target.unlink()


def test_the_folds_follow_the_index_the_duplicates_and_the_parameters(project, prepared, features_of_noise):
    code, printed = run(project, "split")
    assert code == 0, printed
    folds = pd.read_csv(project / "data" / "split" / "folds.csv")
    pairs = pd.read_csv(project / "data" / "split" / "duplicates.csv")
    index = read_index(prepared / "index.csv")
    pd.testing.assert_frame_equal(folds, splits.make_folds(index, 3, 5, pairs))
    first, second = index.loc[list(COPIED), "lesion_id"]
    assert pairs.loc[pairs["confirmed"], ["lesion_id", "other_lesion_id"]].to_numpy().tolist() == [[first, second]]
    assert folds["group"][COPIED[0]] == folds["group"][COPIED[1]]


def test_features_of_other_images_are_refused_and_no_folds_are_written(project, features_of_noise, tmp_path):
    files.write_array(features_of_noise, files.read_array(features_of_noise)[:-1])
    shutil.rmtree(project / "data" / "split", ignore_errors=True)
    code, printed = run(project, "split")
    assert code == 1
    assert "rows in the index; they are of different runs" in printed and "Traceback" not in printed
    assert not (project / "data" / "split").exists()


def test_a_raw_image_that_is_missing_is_named_and_nothing_is_written(project, prepared, tmp_path):
    broken = tmp_path / "project"
    shutil.copytree(project, broken, ignore=shutil.ignore_patterns("prepared", "features", "weights", "partial"))
    victim = sorted((broken / "data" / "raw" / "images").iterdir())[7]
    victim.unlink()
    code, printed = run(broken, "prepare")
    assert code == 1
    assert f"{victim.name} cannot be read as an image" in printed and "Traceback" not in printed
    assert not list((broken / "data" / "prepared").iterdir())


def test_an_embedding_goes_the_way_of_a_backbone(project, prepared):
    index = read_index(prepared / "index.csv")
    order = np.random.default_rng(4).permutation(len(index))
    own = np.random.default_rng(5).normal(size=(len(index), 6)).astype("float32")
    np.save(project / "own.npy", own[order])
    index["image_id"].iloc[order].to_csv(project / "own.csv", index=False)
    values = presets.merged(tiny(), CHANGES)
    own_backbone = {"own": {"features": "own.npy", "ids": "own.csv"}}
    write_params(project, values | {"backbones": values["backbones"] | own_backbone})
    for stage in ("weights", "features"):
        code, printed = run(project, stage, "own")
        assert code == 0, printed
    found = files.read_array(project / "data" / "features" / "own.npy")
    np.testing.assert_array_equal(found, own.astype("float16"))

    np.save(project / "own.npy", own)  # after the stage `weights` has seen it
    code, printed = run(project, "features", "own")
    assert code == 1 and "others than those read before" in printed and "Traceback" not in printed
    write_params(project, values)


def test_features_killed_in_the_middle_go_on_and_are_those_of_the_stored_weights(project, prepared, tmp_path):
    code, printed = run(project, "weights", "vgg16")
    assert code == 0, printed
    provenance = json.loads((project / "data" / "weights" / "vgg16.json").read_text())
    stored = project / "data" / "weights" / "vgg16.weights.h5"
    assert provenance["source"] == "random initialisation" and provenance["stored_sha256"] == files.sha256(stored)

    rows = project / "data" / "partial" / "features" / "vgg16" / "rows.float16"
    killed = subprocess.run(killed_after(10, "features", "vgg16"), cwd=project, env=environment())
    assert killed.returncode == -signal.SIGKILL
    finished = rows.stat().st_size // (2 * 128)
    target = project / "data" / "features" / "vgg16.npy"
    assert finished == 20 and not target.exists()

    code, printed = run(project, "features", "vgg16")
    assert code == 0, printed
    assert not rows.parent.exists()

    # The same without interruption, here.
    network = backbones.trunk("vgg16", 32, "block2_pool")
    network.load_weights(stored)
    features.extract(
        backbones.feature_extractor("vgg16", "vgg16", network, "average"),
        prepared / "images.npy",
        tmp_path / "features.npy",
        crop=32,
        batch_size=2,
        partial=tmp_path / "partial",
        key={},
    )
    assert target.read_bytes() == (tmp_path / "features.npy").read_bytes()
