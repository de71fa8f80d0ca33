"""The audit of a split from the command line."""

import json

import pandas as pd
import pytest

from skinlesions import __main__ as main
from skinlesions.commands import audit as command
from skinlesions.core import paths
from skinlesions.core.errors import UserError
from skinlesions.evaluation import audit


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A split of four images, one of them unknown, with metadata and a published pair; no run is here."""
    (tmp_path / "split.csv").write_text("image,split\na.jpg,train\nb.jpg,test\nc.jpg,test\nd.jpg,test\n")
    (tmp_path / "metadata.csv").write_text(
        "lesion_id,image_id,dx,dx_type\nA,a,nv,histo\nB,b,nv,follow_up\nA,c,nv,histo\nE,e,mel,histo\n"
    )
    (tmp_path / "pairs.csv").write_text("image_id,other_image_id\na,b\n")
    monkeypatch.setattr(command, "NEAR_DUPLICATES", tmp_path / "pairs.csv")
    monkeypatch.setattr(command, "IDENTICAL", tmp_path / "gone.csv")
    monkeypatch.setattr(paths, "RAW_METADATA", tmp_path / "no_run.csv")
    monkeypatch.delenv("HAM10000_DIR", raising=False)
    return tmp_path


def run(*arguments: object) -> None:
    main.run(["audit", *map(str, arguments)])


def test_it_prints_what_it_writes(folder, capsys):
    given = (folder / "split.csv", "--metadata", folder / "metadata.csv")
    run(*given, "--out", folder / "audit.csv")
    text = capsys.readouterr().out
    assert "2 of 3 images" in text and text.count("note: ") == 2 and "gone.csv" in text
    table = pd.read_csv(folder / "audit.csv")
    assert tuple(table.columns) == audit.COLUMNS
    total = table.iloc[-1]
    assert (total["same_lesion"], total["near_duplicate"], total["seen"]) == (1, 1, 2) and pd.isna(total["identical"])

    run(*given, "--out", folder / "audit.json")
    content = json.loads((folder / "audit.json").read_text())
    assert content["crossings"][-1]["seen"] == 2 and content["crossings"][-1]["identical"] is None
    assert [row["part"] for row in content["nevi"]] == ["train", "test", "all"] and len(content["notes"]) == 2


def test_metadata_are_those_of_the_run_where_there_are_any(folder, monkeypatch, capsys):
    monkeypatch.setattr(paths, "RAW_METADATA", folder / "metadata.csv")
    run(folder / "split.csv")
    assert "2 of 3 images" in capsys.readouterr().out


def test_what_a_terminal_would_obey_is_written_out(folder, capsys):
    (folder / "split.csv").write_text("image,split\na,\x1b[2Jone\nb,two\n")
    run(folder / "split.csv", "--metadata", folder / "metadata.csv")
    text = capsys.readouterr().out
    assert "\x1b" not in text and "\\x1b[2jone" in text


def test_without_metadata_it_says_where_to_get_them(folder):
    with pytest.raises(UserError, match=r"10\.7910/DVN/DBW86T(.|\n)*--metadata(.|\n)*HAM10000_DIR"):
        run(folder / "split.csv")


def test_a_split_of_other_images_is_refused(folder):
    (folder / "split.csv").write_text("image,split\nx,train\ny,test\n")
    with pytest.raises(UserError, match="knows none of its images, such as 'x'"):
        run(folder / "split.csv", "--metadata", folder / "metadata.csv")


def test_an_output_that_is_an_input_is_refused(folder):
    for name in ("split.csv", "metadata.csv"):
        with pytest.raises(UserError, match="--out"):
            run(folder / "split.csv", "--metadata", folder / "metadata.csv", "--out", folder / name)


def test_the_metadata_of_the_real_set_are_found_in_its_folder(folder, ham10000_dir, monkeypatch, capsys):
    monkeypatch.setenv("HAM10000_DIR", str(ham10000_dir))
    (folder / "split.csv").write_text("image_id,set\nISIC_0027419,train\nISIC_0025030,test\n")
    run(folder / "split.csv")
    assert "1 of 1 images" in capsys.readouterr().out
