"""Near-duplicates and identical pictures among images of one's own."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinlesions.core import paths
from skinlesions.core.errors import UserError
from skinlesions.data.sources import drawing
from skinlesions.inference import same_pictures
from tests.helpers import project

SIZE = 240


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Eight drawn lesions; the first once more under another name, the second photographed again, and a broken file."""
    values = project.tiny() | {"prepare": {"size": SIZE, "fit": "crop"}}
    project.write_params(tmp_path, values)
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params.yaml")
    for name in ("PARTIAL", "WEIGHTS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    random = np.random.default_rng(0)
    start = (drawing.CANVAS - SIZE) // 2
    (tmp_path / "images").mkdir()
    for number, look in enumerate(drawing.LOOKS.values()):
        image = drawing.paint(look, random).crop((start, start, start + SIZE, start + SIZE))
        image.save(tmp_path / "images" / f"lesion{number}.png")
    image = Image.open(tmp_path / "images" / "lesion0.png")
    image.save(tmp_path / "images" / "copy.bmp")
    again = Image.open(tmp_path / "images" / "lesion1.png").rotate(180)
    again.save(tmp_path / "images" / "again.jpg", quality=80)
    (tmp_path / "images" / "broken.jpg").write_text("no image")
    image.save(tmp_path / "images" / "of_another_split.png")
    return tmp_path


def test_copies_and_photographs_taken_again_are_found(folder):
    names = [*(f"lesion{number}" for number in range(7)), "copy", "again", "broken", "absent"]
    split = pd.DataFrame({"image_id": names, "lesion_id": "", "dx": "nv", "part": "train"})
    notes = []
    pairs = same_pictures.find(split, [folder / "images"], notes)
    assert pairs.identical.to_numpy().tolist() == [["copy", "lesion0"]]
    assert {frozenset(pair) for pair in pairs.near_duplicate.to_numpy().tolist()} == {
        frozenset({"lesion0", "copy"}),
        frozenset({"lesion1", "again"}),
    }
    assert len(notes) == 2 and "1 image of the split" in notes[0].replace("\u00a0", " ") and "broken.jpg" in notes[1]
    assert list((folder / "partial").iterdir()) == []


def test_a_folder_without_images_of_the_split_is_refused(folder):
    split = pd.DataFrame({"image_id": ["ISIC_1"], "lesion_id": ["L"], "dx": ["nv"], "part": ["train"]})
    with pytest.raises(UserError, match="--images: none of the 1 images"):
        same_pictures.find(split, [folder / "images"], [])
