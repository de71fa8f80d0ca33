"""What external sets say their images show, in every official form."""

import pandas as pd
import pytest

from skinlesions.core.errors import UserError
from skinlesions.data.sources import diagnoses

SEVEN = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"


def read(path, text: str, found=(), mapping=None, name: str = "truth.csv") -> diagnoses.Diagnoses:
    (path / name).write_text(text)
    return diagnoses.read(path / name, found, mapping or {})


def told(known: diagnoses.Diagnoses) -> dict[str, str]:
    return dict(zip(known.table["image_id"], known.table["label"], strict=True))


FORMS = {
    "2018": f"{SEVEN}\na,0.0,1.0,0.0,0.0,0.0,0.0,0.0\nb,1,0,0,0,0,0,0\n",
    "other order, lesions": "lesion_id,image,NV,MEL,BCC,AKIEC,BKL,DF,VASC\nL1,a,1,0,0,0,0,0,0\nL2,b,0,1,0,0,0,0,0\n",
    "weights": f"{SEVEN},score_weight\na,0,1,0,0,0,0,0,0.5\nb,1,0,0,0,0,0,0,1\n",
    "semicolons": f"{SEVEN}\na,0.0,1.0,0,0,0,0,0\nb,1,0,0,0,0,0,0\n".replace(",", ";").replace(".", ","),
    "lower case, numbered": f",{SEVEN.lower()}\n0,a,0,1,0,0,0,0,0\n1,b,1,0,0,0,0,0,0\n",
    "comments": f"# mine\n{SEVEN}\n\na,0,1,0,0,0,0,0\nb,1,0,0,0,0,0,0\n\n",
    "image and dx": "image_id,dx\na,NV\nb,MEL\n",
    "names with suffix": "image,dx\na.jpg,NV\nb_downsampled.JPG,MEL\n",
    "2019": "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\na_downsampled,0,1,0,0,0,0,0,0,0\nb,1,0,0,0,0,0,0,0,0\n",
    "BCN20000": "bcn_filename,isic_id,age_approx,diagnosis,lesion_id\nBCN_1.jpg,a,5,NV,L1\nBCN_2.jpg,b,5,MEL,L2\n",
    "BCN20000 by its own names": "bcn_filename,isic_id,diagnosis,lesion_id\na.jpg,X,NV,L1\nb.jpg,Y,MEL,L2\n",
    "PAD-UFES-20": "patient_id,lesion_id,diagnostic,img_id\nP1,1,NV,a.png\nP2,2,MEL,b.png\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(tmp_path, form):
    known = read(tmp_path, FORMS[form], ("a", "b"))
    assert told(known) == {"a": "NV", "b": "MEL"}
    assert diagnoses.classes_of(known, {}).tolist() == ["nv", "mel"]
    assert known.table["lesion_id"].notna().all() == ("lesion_id" in FORMS[form])


def test_metadata_describe_more_than_the_set_and_a_truth_does_not(tmp_path):
    assert read(tmp_path, FORMS["image and dx"]).complete and read(tmp_path, FORMS["2019"]).complete
    for form in ("BCN20000", "PAD-UFES-20"):
        assert not read(tmp_path, FORMS[form]).complete
    # BCN20000 keeps the diagnoses of its test images to itself.
    known = read(tmp_path, FORMS["BCN20000"] + "BCN_3.jpg,c,5,,L3\n", ("a", "b"))
    assert told(known) == {"a": "NV", "b": "MEL"} and "c" in known.described
    with pytest.raises(UserError, match="row 4: the diagnosis is empty"):
        read(tmp_path, FORMS["BCN20000"] + "BCN_3.jpg,c,5,,L3\n", ("a", "b", "c"))


def test_of_two_images_of_a_lesion_the_dermoscopic_one_is_taken(tmp_path):
    truth = "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC\nL1,0,0,0,0,0,0,0,0,1,0,0\n"
    with pytest.raises(UserError, match=r"truth\.csv has a row per lesion .*MILK10k_Training_Metadata\.csv"):
        read(tmp_path, truth)
    (tmp_path / "metadata.csv").write_text(
        "lesion_id,image_type,isic_id\nL1,clinical: close-up,a\nL1,dermoscopic,b\nL9,dermoscopic,c\n"
    )
    known = read(tmp_path, truth)
    assert told(known) == {"b": "NV"} and known.described == {"a", "b"}
    assert [path.name for path in known.files] == ["truth.csv", "metadata.csv"]
    with pytest.raises(UserError, match="no image of the lesion 'L2'"):
        read(tmp_path, truth + "L2,0,0,0,0,0,0,0,0,1,0,0\n")


def test_the_mapping_decides_and_its_keys_may_be_columns(tmp_path):
    text = "image,MEL,NV,WART\na,0,1,0\nb,0,0,1\nc,1,0,0\n"
    mapping = {"wart": None, "NV": "bkl"}
    known = read(tmp_path, text, mapping=mapping)
    assert told(known) == {"a": "NV", "b": "WART", "c": "MEL"}
    assert diagnoses.classes_of(known, mapping).tolist() == ["bkl", None, "mel"]


def test_the_archive_calls_akiec_otherwise_in_the_challenge_only(tmp_path):
    header = "isic_id,diagnosis_1,diagnosis_2,diagnosis_3,lesion_id\n"
    cancer = 'ISIC_{},Malignant,Malignant epidermal proliferations,"Squamous cell carcinoma, NOS",IL_1\n'
    assert diagnoses.classes_of(read(tmp_path, header + cancer.format("0034600")), {}).tolist() == ["akiec"]
    elsewhere = read(tmp_path, header + cancer.format("0060000"))
    with pytest.raises(UserError, match=r'mapping: \{"Squamous cell carcinoma, NOS": null\}'):
        diagnoses.classes_of(elsewhere, {})
    assert diagnoses.classes_of(elsewhere, {"squamous cell carcinoma NOS": None}).tolist() == [None]


FAULTS = {
    "none": (f"{SEVEN}\na,0,0,0,0,0,0,0\n", "row 2: no class is 1"),
    "two": (f"{SEVEN}\n\na,1,1,0,0,0,0,0\n", "row 3: 2 classes are 1"),
    "soft": (f"{SEVEN}\na,0.5,0.5,0,0,0,0,0\n", "row 2: these are probabilities"),
    "text": (f"{SEVEN}\na,x,1,0,0,0,0,0\n", "row 2: MEL is 'x'; expected 0 or 1"),
    "twice": ("image,dx\na,nv\na.jpg,nv\n", "row 3: image 'a' is already in row 2"),
    "no image": ("image,dx\n,nv\n", "row 2: the name of the image is empty"),
    "no lesion": ("image,lesion_id,dx\na,,nv\n", "row 2: lesion_id is empty"),
    "formula": ("image,lesion_id,dx\na,=1+1,nv\n", "row 2: lesion_id is '=1\\+1'"),
    "no diagnosis": ("image,dx\na,\n", "row 2: the diagnosis is empty"),
    "columns": ("image,lesion\na,b\n", "row 1: the columns are image, lesion; expected"),
    "no name": ("MEL,NV\n1,0\n", "row 1: no column names the image"),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_are_named_with_file_and_row(tmp_path, text, message):
    with pytest.raises(UserError, match=rf"truth\.csv(.|\n)*{message}"):
        read(tmp_path, text)


def test_the_published_files(ham10000_dir):
    validation = ham10000_dir / "ISIC2018_Task3_Validation_GroundTruth.csv"
    known = diagnoses.read(validation, (), {})
    assert diagnoses.classes_of(known, {}).value_counts()["nv"] == 123
    archive = ham10000_dir / "isic_archive_metadata.csv"
    if archive.exists():
        table = diagnoses.read(archive, (), {})
        classes = pd.Series(diagnoses.classes_of(table, {}).tolist(), index=table.table["image_id"])
        for name in ("Validation", "Test"):
            truth = diagnoses.read(ham10000_dir / f"ISIC2018_Task3_{name}_GroundTruth.csv", (), {})
            assert diagnoses.classes_of(truth, {}).tolist() == classes[truth.table["image_id"]].tolist()
