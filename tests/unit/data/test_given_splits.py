"""Splits in the forms that people have."""

import pytest

from skinlesions.core.errors import UserError
from skinlesions.data import given_splits

FORMS = {
    "plain": "image,split\nISIC_1,train\nISIC_2,test\n",
    "pandas": ",image_id,dx,set\n0,ISIC_1,nv,Train\n1,ISIC_2,mel,TEST\n",
    "files": "path;subset\nHAM10000_images_part_1/ISIC_1.jpg;training\ntest\\ISIC_2.JPEG;testing\n",
    "the other way round": "fold,filename\ntrain,ISIC_1.png\ntest,ISIC_2\n",
    "rows repeated or unused": "image,split\nISIC_1,train\nISIC_1,train\nISIC_2,test\nISIC_3,\n",
}


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "split.csv").write_text(text)
        return tmp_path / "split.csv"

    return write


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_every_form_is_the_same_split(write, text):
    table, _ = given_splits.read(write(text))
    assert table.to_dict("list") == {"image_id": ["ISIC_1", "ISIC_2"], "part": ["train", "test"]}


def test_parts_have_one_name_and_an_order(write):
    table, notes = given_splits.read(write("image,split\na,test\nb,val\nc,train\nd,valid\n"))
    assert table["part"].tolist() == ["train", "validation", "validation", "test"] and not notes
    folds, _ = given_splits.read(write("image,fold\na,10\nb,2\nc,1\n"))
    assert folds["part"].tolist() == ["1", "2", "10"]


def test_what_was_left_out_is_noted_and_an_image_may_stand_in_two_parts(write):
    table, notes = given_splits.read(write(FORMS["rows repeated or unused"]))
    assert len(notes) == 2
    table, notes = given_splits.read(write("image,split\na,train\na,test\n"))
    assert len(table) == 2 and not notes


FAULTS = {
    "no image": ("name,split\na,train\n", "line 1: the columns are name, split; expected one called image"),
    "no part": ("image,kind\na,train\n", "expected one called split"),
    "one part": ("image,split\na,train\nb,train\n", "all images are in one part, 'train'"),
    "not a part": ("image,id,split\n" + "".join(f"{n},{n},{n}\n" for n in range(200)), "column 'split' has 200 values"),
    "no name": ("image,split\n,train\nb,test\n", "line 2: the name of the image is empty"),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_what_is_no_split_is_named(write, text, message):
    with pytest.raises(UserError, match=rf"split\.csv(.|\n)*{message}"):
        given_splits.read(write(text))


def test_metadata_of_any_order(write):
    table = given_splits.read_metadata(write("dx,image_id,age,lesion_id\nnv,a,5,L\n"))
    assert table.to_dict("list") == {"image_id": ["a"], "lesion_id": ["L"], "dx": ["nv"], "dx_type": [""]}
    with pytest.raises(UserError, match=r"expected image_id, lesion_id, dx(.|\n)*doi:10.7910/DVN/DBW86T"):
        given_splits.read_metadata(write("image,MEL\na,1\n"))
    with pytest.raises(UserError, match="line 3: image 'a' is already in line 2"):
        given_splits.read_metadata(write("image_id,lesion_id,dx\na,L,nv\na,L,nv\n"))
