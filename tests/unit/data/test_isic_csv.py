import io

import numpy as np
import pandas as pd
import pytest

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import isic_csv
from skinlesions.evaluation.metrics import softmax

HEADER = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
NAMES = ["ISIC_2", "ISIC_1", 'a "b", c', "Foto (1)", "größe"]


@pytest.fixture
def probabilities() -> np.ndarray:
    return softmax(3 * np.random.default_rng(0).normal(size=(len(NAMES), 7)))


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_what_is_written_is_read(tmp_path, probabilities):
    path = tmp_path / "predictions.csv"
    isic_csv.write(path, NAMES, probabilities)
    assert path.read_text().splitlines()[0] == HEADER
    table = isic_csv.read(path)
    assert list(table["image"]) == NAMES and list(table["line"]) == [2, 3, 4, 5, 6]
    np.testing.assert_allclose(isic_csv.probabilities(table), probabilities, rtol=1e-5)


def test_the_columns_are_in_the_order_of_the_challenge(tmp_path):
    path = tmp_path / "predictions.csv"
    isic_csv.write(path, list(CLASSES), np.eye(7))
    rows = dict(line.split(",", 1) for line in path.read_text().splitlines()[1:])
    assert rows == {
        "mel": "1,0,0,0,0,0,0",
        "nv": "0,1,0,0,0,0,0",
        "bcc": "0,0,1,0,0,0,0",
        "akiec": "0,0,0,1,0,0,0",
        "bkl": "0,0,0,0,1,0,0",
        "df": "0,0,0,0,0,1,0",
        "vasc": "0,0,0,0,0,0,1",
    }
    # The same file is a ground truth.
    truth = isic_csv.read_ground_truth(path)
    assert list(truth["dx"]) == list(truth["image"]) == list(CLASSES)
    assert list(truth["dx"]) == list(CLASSES)
    assert truth["lesion_id"].isna().all()


def test_pieces_written_to_a_stream_make_the_same_file(tmp_path, probabilities):
    isic_csv.write(tmp_path / "whole.csv", NAMES, probabilities)
    stream = io.StringIO(newline="")
    isic_csv.write_header(stream)
    for part in (slice(0, 3), slice(3, 5)):
        isic_csv.write_rows(stream, NAMES[part], probabilities[part])
    assert stream.getvalue() == (tmp_path / "whole.csv").read_text()


def test_write_refuses_what_read_would_refuse(tmp_path, probabilities):
    path = tmp_path / "predictions.csv"
    with pytest.raises(UserError, match=r"predictions\.csv: 1 fault\n  line 3: image 'a' is already in line 2"):
        isic_csv.write(path, ["a", "a"], probabilities[:2])
    with pytest.raises(UserError, match="line 2: MEL is 'nan'"):
        isic_csv.write(path, ["a"], np.full((1, 7), np.nan))
    with pytest.raises(UserError, match="line 2: the probabilities sum to 2; expected 1"):
        isic_csv.write(path, ["a"], np.full((1, 7), 2 / 7))
    assert not path.exists()


GOOD = "a,0.2,0.3,0.1,0.1,0.1,0.1,0.1"
SUBMISSION_FAULTS = {
    "class missing": (["image,MEL,NV,BCC,AKIEC,BKL,DF", "a,1,0,0,0,0,0"], "line 1: the columns are image, MEL"),
    "another order": (["image,AKIEC,BCC,BKL,DF,MEL,NV,VASC", GOOD], "line 1: .* expected image,MEL,NV"),
    "no header": ([GOOD, GOOD.replace("a", "b")], "line 1: the columns are a, 0.2"),
    "no rows": ([HEADER], "has no rows after the header"),
    "nothing": ([""], "is empty"),
    "value missing": ([HEADER, "a,1,0,0,0,0,0"], "line 2: 7 values instead of 8"),
    "value too many": ([HEADER, GOOD + ",0"], "line 2: 9 values instead of 8"),
    "NaN": ([HEADER, GOOD, "b,nan,0,0,0,0,0,1"], "line 3: MEL is 'nan'; expected a probability from 0 to 1"),
    "empty": ([HEADER, "b,,0,0,0,0,0,1"], "line 2: MEL is ''"),
    "text": ([HEADER, "b,0,high,0,0,0,0,1"], "line 2: NV is 'high'"),
    "infinite": ([HEADER, "b,0,0,inf,0,0,0,1"], "line 2: BCC is 'inf'"),
    "negative": ([HEADER, "b,0,0,0,-0.1,0,0,1.1"], "line 2: AKIEC is '-0.1'"),
    "logits": ([HEADER, "b,0,0,0,0,0,1.5,-0.5"], "line 2: DF is '1.5'"),
    "sum": ([HEADER, "b,0.5,0.4,0,0,0,0,0"], "line 2: the probabilities sum to 0.9; expected 1"),
    "twice": ([HEADER, GOOD, "", GOOD], "line 4: image 'a' is already in line 2"),
    "no name": ([HEADER, "," + GOOD[2:]], "line 2: the name of the image is empty"),
    "quote not closed": ([HEADER, GOOD, '"b,1,0,0,0,0,0,0'], "line 3: not CSV"),
}


@pytest.mark.parametrize(("lines", "message"), SUBMISSION_FAULTS.values(), ids=SUBMISSION_FAULTS.keys())
def test_faults_of_a_submission_are_named_with_file_and_line(tmp_path, lines, message):
    with pytest.raises(UserError, match=rf"predictions\.csv(.|\n)*{message}"):
        isic_csv.read(write(tmp_path / "predictions.csv", *lines))


def test_all_faults_are_counted_and_the_first_are_shown(tmp_path):
    rows = [f"image_{number},2,0,0,0,0,0,0" for number in range(30)]
    with pytest.raises(UserError, match=r"30 faults\n  line 2: .*\n(.|\n)*\.\.\. and 22 more"):
        isic_csv.read(write(tmp_path / "predictions.csv", HEADER, *rows))


def test_probabilities_rounded_to_three_decimals_are_taken(tmp_path):
    rounded = np.round(softmax(np.random.default_rng(1).normal(size=(500, 7))), 3)
    rows = [f"image_{number}," + ",".join(map(str, row)) for number, row in enumerate(rounded)]
    assert len(isic_csv.read(write(tmp_path / "predictions.csv", HEADER, *rows))) == 500


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"gone\.csv does not exist"):
        isic_csv.read(tmp_path / "gone.csv")
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        isic_csv.read(tmp_path)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"bytes\.csv: not UTF-8 text"):
        isic_csv.read_ground_truth(tmp_path / "bytes.csv")


def test_a_ground_truth_with_lesions(tmp_path):
    path = write(tmp_path / "truth.csv", HEADER + ",lesion_id", "b,1,0,0,0,0,0,0,L1", "a,0,0,0,0,0,0,1.0,L2")
    truth = isic_csv.read_ground_truth(path)
    assert truth.to_dict("list") == {
        "image": ["b", "a"],
        "line": [2, 3],
        "lesion_id": ["L1", "L2"],
        "dx": ["mel", "vasc"],
    }


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_metadata_are_a_ground_truth_in_every_form(tmp_path, separator, quote, start, line_end):
    rows = [["lesion_id", "image_id", "dx", "dx_type"], ["L1", "b", "mel", "histo"], ["L1", "a", "mel", "histo"]]
    lines = [separator.join(f"{quote}{value}{quote}" for value in row) for row in rows]
    path = tmp_path / "truth.tab"
    path.write_bytes((start + line_end.join(lines) + line_end).encode())
    truth = isic_csv.read_ground_truth(path)
    assert truth[["image", "lesion_id", "dx"]].to_numpy().tolist() == [["b", "L1", "mel"], ["a", "L1", "mel"]]


TRUTH_FAULTS = {
    "soft": ([HEADER, "a,0.5,0.5,0,0,0,0,0"], "line 2: expected one 1 and else 0"),
    "none": ([HEADER, "a,0,0,0,0,0,0,0"], "line 2: the probabilities sum to 0"),
    "two": ([HEADER, "a,1,1,0,0,0,0,0"], "line 2: the probabilities sum to 2"),
    "columns": (["image,lesion", "a,b"], "line 1: the columns are image, lesion; expected image,MEL"),
    "twice": ([HEADER, "a,1,0,0,0,0,0,0", "a,1,0,0,0,0,0,0"], "line 3: image 'a' is already in line 2"),
    "lesion empty": ([HEADER + ",lesion_id", "a,1,0,0,0,0,0,0,"], "line 2: lesion_id is empty"),
    "metadata lesion empty": (["image_id,lesion_id,dx", "a,,mel"], "line 2: lesion_id is empty"),
    "unknown dx": (["image_id,lesion_id,dx", "a,L,naevus"], "line 2: dx is 'naevus'; expected one of akiec"),
    "column twice": (["image_id,lesion_id,dx,dx", "a,L,nv,mel"], "line 1: column 'dx' is there twice"),
}


@pytest.mark.parametrize(("lines", "message"), TRUTH_FAULTS.values(), ids=TRUTH_FAULTS.keys())
def test_faults_of_a_ground_truth_are_named_with_file_and_line(tmp_path, lines, message):
    with pytest.raises(UserError, match=rf"truth\.csv(.|\n)*{message}"):
        isic_csv.read_ground_truth(write(tmp_path / "truth.csv", *lines))


def test_rows_are_matched_by_name_whatever_their_order(tmp_path, probabilities):
    isic_csv.write(tmp_path / "p.csv", NAMES, probabilities)
    rows = [f'"{name}",L,{dx}'.replace('"b"', '""b""') for name, dx in zip(NAMES, CLASSES, strict=False)]
    write(tmp_path / "t.csv", "image_id,lesion_id,dx", *reversed(rows))
    table = isic_csv.match(isic_csv.read(tmp_path / "p.csv"), isic_csv.read_ground_truth(tmp_path / "t.csv"), "p", "t")
    assert list(table["image"]) == sorted(NAMES)
    order = [NAMES.index(name) for name in table["image"]]
    assert [CLASSES.index(dx) for dx in table["dx"]] == order
    np.testing.assert_allclose(isic_csv.probabilities(table), probabilities[order], rtol=1e-5)


def test_images_in_one_file_only_are_named(tmp_path, probabilities):
    isic_csv.write(tmp_path / "p.csv", NAMES, probabilities)
    truth = pd.DataFrame({"image": ["ISIC_1", "ISIC_9"], "line": [2, 3], "lesion_id": None, "dx": "nv"})
    with pytest.raises(UserError) as caught:
        isic_csv.match(isic_csv.read(tmp_path / "p.csv"), truth, "p.csv", "t.csv")
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("5 faults")
    assert lines[1] == "  t.csv, line 3: p.csv has no row for image 'ISIC_9'; add its prediction"
    assert lines[2] == "  p.csv, line 2: t.csv has no row for image 'ISIC_2'; remove its prediction"


def test_the_published_files(ham10000_dir):
    validation = isic_csv.read_ground_truth(ham10000_dir / "ISIC2018_Task3_Validation_GroundTruth.csv")
    assert len(validation) == 193 and validation["lesion_id"].isna().all()
    assert validation["dx"].value_counts()["nv"] == 123
    ham10000 = isic_csv.read_ground_truth(ham10000_dir / "HAM10000_metadata.csv")
    assert (len(ham10000), ham10000["lesion_id"].nunique()) == (10_015, 7_470)
