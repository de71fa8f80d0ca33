"""Predictions and diagnoses in the forms that people have."""

import numpy as np
import pytest

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import submissions

HEADER = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
PREDICTED = [HEADER, "a,0.5,0.1,0.1,0.1,0.1,0.05,0.05", "b,0.0,0.9,0.0,0.0,0.1,0.0,0.0"]
TRUE = [HEADER, "b,0.0,1.0,0.0,0.0,0.0,0.0,0.0", "a,1.0,0.0,0.0,0.0,0.0,0.0,0.0"]


@pytest.fixture
def read(tmp_path):
    def read(predictions, diagnoses=TRUE):
        for name, lines in (("p.csv", predictions), ("t.csv", diagnoses)):
            (tmp_path / name).write_text("\n".join(lines) + "\n")
        return submissions.read(tmp_path / "p.csv", tmp_path / "t.csv")

    return read


def beside(lines, values):
    """`lines` with one more value each at their end."""
    return [f"{line},{value}" for line, value in zip(lines, values, strict=True)]


def columns(lines, order, names=None):
    """`lines` with their columns in another order, and perhaps under other names."""
    rows = [[line.split(",")[position] for position in order] for line in lines]
    return [",".join(row) for row in [names or rows[0], *rows[1:]]]


def test_images_are_matched_by_name_and_classes_by_column(read):
    matched = read(PREDICTED)
    assert matched.images.tolist() == ["a", "b"] and matched.lesions is None and not matched.notes
    assert matched.categories == ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")
    labels, values = matched.of(np.array([True, True]), CLASSES)
    assert [CLASSES[label] for label in labels] == ["mel", "nv"]
    assert values[0].tolist() == [0.1, 0.1, 0.1, 0.05, 0.5, 0.1, 0.05]
    assert matched.weights.tolist() == [[1, 1], [1, 1]]


ALIKE = {
    "another order": columns(PREDICTED, [7, 6, 5, 4, 0, 3, 2, 1]),
    "lower case": [PREDICTED[0].lower(), *PREDICTED[1:]],
    "name of a file": [PREDICTED[0], *(line.replace(",", ".JPG,", 1) for line in PREDICTED[1:])],
    "another key": [PREDICTED[0].replace("image", "lesion_id"), *PREDICTED[1:]],
    "other columns": [PREDICTED[0] + ",remark", *(f"{line},x" for line in PREDICTED[1:])],
    "2019's name": [PREDICTED[0].replace("AKIEC", "AK"), *PREDICTED[1:]],
    "2019's classes": [PREDICTED[0] + ",SCC,UNK", *(f"{line},0.0,0.3" for line in PREDICTED[1:])],
}


@pytest.mark.parametrize("lines", ALIKE.values(), ids=ALIKE.keys())
def test_other_forms_of_the_same_predictions(read, lines):
    known, found = read(PREDICTED), read(lines)
    assert (found.values == known.values).all() and found.categories == known.categories
    assert (found.truth == known.truth).all()


def test_what_was_normalised_is_noted(read):
    for form in ("name of a file", "other columns", "2019's classes"):
        assert len(read(ALIKE[form]).notes) == 1, form


def test_answers_without_probabilities_are_taken(read):
    for lines in (["image,dx", "a,MEL", "b,nv"], [HEADER, "a,1,0,0,0,0,0,0", "b,0,1,0,0,0,0,0"]):
        matched = read(lines)
        _, values = matched.of(np.array([True, True]), CLASSES)
        assert values.argmax(axis=1).tolist() == [CLASSES.index("mel"), CLASSES.index("nv")]
        assert set(values.ravel()) == {0, 1} and len(matched.notes) == 1


def test_diagnoses_with_weights_lesions_and_metadata(read):
    weighted = [
        f"{line},{rest}"
        for line, rest in zip(TRUE, ["score_weight,validation_weight,lesion_id", "0.5,1,L1", "2,0,L2"], strict=True)
    ]
    matched = read(PREDICTED, weighted)
    assert matched.weights.tolist() == [[2, 0], [0.5, 1]] and matched.lesions.tolist() == ["L2", "L1"]
    matched = read(PREDICTED, ["lesion_id,image_id,dx,age", "L1,b,nv,50", "L2,a,mel,"])
    assert matched.lesions.tolist() == ["L2", "L1"] and not matched.notes
    assert [matched.categories[k] for k in matched.truth] == ["mel", "nv"]
    assert read(PREDICTED, ["dx,image_id", "nv,b", "mel,a"]).lesions is None


def test_classes_beside_the_seven_are_scored_where_both_files_have_them(read):
    predicted = [
        f"{line},{rest}"
        for line, rest in zip([*PREDICTED, "c,0,0,0,0,0,0,0"], ["SCC", "0.0", "0.0", "1.0"], strict=True)
    ]
    true = beside([*TRUE, "c,0,0,0,0,0,0,0"], ["SCC", "0", "0", "1"])
    matched = read(predicted, true)
    assert matched.categories[-1] == "scc" and matched.truth.tolist() == [0, 1, 7]
    # Predictions that know no such class are of the others.
    without = read([*PREDICTED, "c,0.4,0,0,0,0,0,0.3"], true)
    assert without.images.tolist() == ["a", "b"] and "1 image of SCC left out" in without.notes[-1]


def test_the_image_that_counts_for_nothing_has_no_weight_and_may_be_absent(read):
    more = f"{submissions.UNSCORED},0.5,0.5,0.0,0.0,0.0,0.0,0.0"
    truth = f"{submissions.UNSCORED},1.0,0.0,0.0,0.0,0.0,0.0,0.0"
    matched = read([*PREDICTED, more], [*TRUE, truth])
    assert matched.weights.tolist() == [[0, 0], [1, 1], [1, 1]] and matched.images[0] == submissions.UNSCORED
    for lines in (([*PREDICTED, more], TRUE), (PREDICTED, [*TRUE, truth])):
        assert read(*lines).images.tolist() == ["a", "b"]


def test_a_lesion_with_two_diagnoses_is_noted(read):
    notes = read(PREDICTED, ["lesion_id,image_id,dx", "L1,b,nv", "L1,a,mel"]).notes
    assert len(notes) == 1 and "'L1'" in notes[0]


def changed(lines, number, old, new):
    return [line.replace(old, new) if place == number else line for place, line in enumerate(lines)]


FAULTS = {
    "class missing": (columns(PREDICTED, range(7)), TRUE, "p.csv: there is no column VASC"),
    "no class": (["image,x", "a,1", "b,1"], TRUE, "p.csv, line 1: no column has the name of a class"),
    "no key": (columns(PREDICTED, range(1, 8)), TRUE, "p.csv, line 1: .*expected one called image"),
    "one class twice": ([PREDICTED[0] + ",AK", *(f"{line},0" for line in PREDICTED[1:])], TRUE, "'AKIEC' and 'AK'"),
    "logits": (changed(PREDICTED, 2, "0.9", "3.2"), TRUE, "p.csv(.|\n)*line 3: NV is '3.2'; .*softmax"),
    "not a number": (changed(PREDICTED, 1, "0.5", "nan"), TRUE, "line 2: MEL is 'nan'; expected a probability"),
    "twice": ([*PREDICTED, PREDICTED[1]], TRUE, "p.csv(.|\n)*line 4: image 'a' is already in line 2"),
    "twice without endings": (changed(PREDICTED, 2, "b,", "a.jpg,"), TRUE, "line 3: image 'a' is already in line 2"),
    "image missing": (PREDICTED[:2], TRUE, "t.csv, line 2: .*p.csv has no row for image 'b'"),
    "image too many": (PREDICTED, TRUE[:2], "p.csv, line 2: .*t.csv has no row for image 'a'"),
    "no class is 1": (PREDICTED, changed(TRUE, 1, "1.0", "0.0"), "t.csv(.|\n)*line 2: no class is 1"),
    "two are 1": (PREDICTED, changed(TRUE, 2, "0.0,0.0,0.0", "1.0,0.0,0.0"), "line 3: two classes are 1|3 classes"),
    "soft": (PREDICTED, changed(TRUE, 1, "1.0", "0.7"), "line 2: NV is '0.7'; a diagnosis is a 1 among 0"),
    "diagnosis unknown": (PREDICTED, ["image_id,dx", "a,naevus", "b,nv"], "line 2: dx is 'naevus'; expected one of ak"),
    "lesion empty": (PREDICTED, ["lesion_id,image_id,dx", ",a,mel", "L,b,nv"], "line 2: lesion_id is empty"),
    "no diagnoses": (PREDICTED, ["image,lesion", "a,b", "b,c"], "t.csv, line 1: the columns are image, lesion"),
    "weight": (PREDICTED, [TRUE[0] + ",score_weight", TRUE[1] + ",-1", TRUE[2] + ",1"], "score_weight is '-1'"),
    "classes of the truth": (PREDICTED, columns(TRUE, range(7)), "t.csv: there is no column VASC"),
}


@pytest.mark.parametrize(("predictions", "diagnoses", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_are_named_with_file_and_line(read, predictions, diagnoses, message):
    with pytest.raises(UserError, match=message):
        read(predictions, diagnoses)


def test_every_official_form_is_read_alike(cases_dir):
    folder = cases_dir / "faults" / "official-forms"
    base = submissions.read(folder / "base.csv", folder / "t.csv")
    for name in ("blank_end", "image_last", "index", "jpg", "lower", "reordered", "semicolon"):
        found = submissions.read(folder / f"{name}.csv", folder / "t_weights.csv")
        assert (found.values == base.values).all() and (found.truth == base.truth).all(), name
        assert not (found.weights == base.weights).all()
    for name in ("round2", "sigmoid"):
        assert submissions.read(folder / f"{name}.csv", folder / "t.csv").values.shape == base.values.shape
