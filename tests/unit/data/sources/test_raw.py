import hashlib
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from skinlesions.core import files
from skinlesions.core.errors import UserError
from skinlesions.core.files import read_json
from skinlesions.data.sources.checks import check_metadata
from skinlesions.data.sources.raw import write_raw
from tests.helpers.orientations import encoded
from tests.helpers.raw_files import HEADER, IMAGES, ROWS, jpeg

METADATA = check_metadata(pd.DataFrame(ROWS, columns=HEADER, dtype=str), "metadata.csv")


def write(folder: Path, images: dict[str, bytes]) -> Path:
    named = [(image_id, f"{image_id}.jpg", content) for image_id, content in reversed(images.items())]
    write_raw(folder / "raw", folder / "partial", METADATA, named, {"source": "sample", "note": "a note"})
    return folder / "raw"


def test_everything_is_written_as_promised(tmp_path):
    raw = write(tmp_path, IMAGES)
    assert sorted(path.name for path in raw.iterdir()) == ["images", "manifest.csv", "metadata.csv", "source.json"]
    assert {path.stem: path.read_bytes() for path in (raw / "images").iterdir()} == IMAGES
    assert (raw / "metadata.csv").read_text().splitlines() == [
        "lesion_id,image_id,dx,dx_type,age,sex,localization",
        "HAM_1,ISIC_1,mel,histo,80,male,scalp",
        "HAM_1,ISIC_2,mel,histo,80,male,scalp",
        "HAM_2,ISIC_3,nv,follow_up,,unknown,unknown",
        "HAM_3,ISIC_4,df,consensus,42.5,female,lower extremity",
    ]
    lines = [f"{name},{hashlib.sha256(data).hexdigest()},{len(data)},96,72" for name, data in IMAGES.items()]
    assert (raw / "manifest.csv").read_text().splitlines() == ["image_id,sha256,bytes,width,height", *lines]
    assert read_json(raw / "source.json") == {"source": "sample", "note": "a note", "images": 4, "lesions": 3}
    assert not (tmp_path / "partial").exists()


def test_png_keeps_its_bytes_and_its_name(tmp_path):
    content = encoded(Image.new("RGB", (96, 72)), "PNG")
    raw = write(tmp_path, IMAGES | {"ISIC_2": content})
    assert (raw / "images" / "ISIC_2.png").read_bytes() == content
    found = [files.image_file(raw / "images", image_id).name for image_id in ("ISIC_1", "ISIC_2")]
    assert found == ["ISIC_1.jpg", "ISIC_2.png"]


def test_images_out_of_scope_and_further_tables_stand_beside(tmp_path):
    foreign = pd.DataFrame({"image_id": ["ISIC_0"], "lesion_id": ["L"], "diagnosis": ["SCC"]})
    named = [(image_id, image_id, content) for image_id, content in (IMAGES | {"ISIC_0": jpeg(9)}).items()]
    tables = {"more.csv": foreign[["image_id"]]}
    source = {"source": "a", "note": ""}
    write_raw(tmp_path / "raw", tmp_path / "partial", METADATA, named, source, out_of_scope=foreign, tables=tables)
    assert pd.read_csv(tmp_path / "raw" / "out_of_scope.csv").equals(foreign)
    assert pd.read_csv(tmp_path / "raw" / "more.csv")["image_id"].tolist() == ["ISIC_0"]
    assert len(pd.read_csv(tmp_path / "raw" / "manifest.csv")) == 5
    assert read_json(tmp_path / "raw" / "source.json")["images"] == 4


def test_bad_images_are_all_named_and_leave_what_was_there(tmp_path):
    write(tmp_path, IMAGES)
    with pytest.raises(UserError) as caught:
        write(tmp_path, IMAGES | {"ISIC_2": IMAGES["ISIC_2"][:1000], "ISIC_4": jpeg(4, 50, 50)})
    lines = str(caught.value).splitlines()
    assert lines[0] == "images: 2 faults"
    assert lines[1].startswith("  ISIC_4.jpg is 50 x 50 pixels")
    assert lines[2].startswith("  ISIC_2.jpg does not decode")
    assert all(line.endswith("; replace it with the published file") for line in lines[1:])
    assert (tmp_path / "raw" / "images" / "ISIC_2.jpg").read_bytes() == IMAGES["ISIC_2"]


def test_the_leftovers_of_a_killed_run_are_not_taken_over(tmp_path):
    leftover = tmp_path / "partial" / "images" / "ISIC_9.jpg"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half an image")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "old.csv").touch()
    raw = write(tmp_path, IMAGES)
    assert len(list((raw / "images").iterdir())) == 4
    assert not (raw / "old.csv").exists()


def test_images_that_do_not_fit_the_metadata_are_a_mistake_of_the_caller(tmp_path):
    with pytest.raises(ValueError, match="check_names"):
        write(tmp_path, {"ISIC_1": IMAGES["ISIC_1"]})
    assert not (tmp_path / "raw").exists()
