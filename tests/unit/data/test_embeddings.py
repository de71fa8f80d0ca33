"""Features from elsewhere: put in the order of the images, or refused by name."""

import pickle

import numpy as np
import pytest

from skinlesions.core import config, files, inputs, paths
from skinlesions.core.errors import UserError
from skinlesions.data import embeddings

NAMES = ["b", "c", "a"]
FEATURES = np.arange(12, dtype="float32").reshape(3, 4) / 7


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with an embedding of three images, which is that of the project."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path / "weights")
    np.save(tmp_path / "own.npy", FEATURES)
    (tmp_path / "own.csv").write_text("image_id\n" + "\n".join(NAMES) + "\n")
    return tmp_path


def settings(**changes) -> config.Embedding:
    return config.Embedding(**({"features": "own.npy", "ids": "own.csv"} | changes))


def extract(folder, image_ids=("a", "b", "c"), **changes) -> np.ndarray:
    embeddings.save("own", settings(**changes))
    embeddings.extract("own", settings(**changes), image_ids, folder / "features.npy")
    return files.read_array(folder / "features.npy")


def test_rows_are_put_in_the_order_of_the_images(folder):
    found = extract(folder)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, FEATURES[[2, 0, 1]], rtol=1e-3)


@pytest.mark.parametrize(
    "table", ["image\nb.jpg\nc.jpg\nx/a.png\n", "name\nb\nc\na\n", ",n,isic_id\n0,1,b\n1,2,c\n2,3,a\n"]
)
def test_names_in_other_forms(folder, table):
    (folder / "own.csv").write_text(table)
    np.testing.assert_allclose(extract(folder), FEATURES[[2, 0, 1]], rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_type_and_order_of_numbers_is_taken(folder, dtype, order):
    np.save(folder / "own.npy", np.asarray(FEATURES, dtype, order=order))
    np.testing.assert_allclose(extract(folder), FEATURES[[2, 0, 1]], rtol=1e-3)


def test_absolute_paths_are_read_and_only_names_published(folder):
    given = settings(features=str(folder / "own.npy"), ids=str(folder / "own.csv"), origin="a foundation model")
    embeddings.save("own", given)
    record = files.read_json(paths.backbone_record("own"))
    assert record["sha256"] == files.sha256(folder / "own.npy") and record["ids_sha256"] == files.sha256(
        folder / "own.csv"
    )
    assert (record["file"], record["source"], record["images"], record["width"]) == (
        "own.npy",
        "a foundation model",
        3,
        4,
    )
    assert str(folder) not in str(record) and str(folder) not in str(given.model_dump(mode="json"))


class Trap:
    """Pickled, it is a call that writes a file beside the features when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path.with_name("ran"),))


def write_pickle(path):
    path.write_bytes(pickle.dumps(Trap(path)))


def write_objects(path):
    np.save(path, np.array([[Trap(path), None]], dtype=object), allow_pickle=True)


ARRAYS = {
    "pickle": (write_pickle, "no .npy file of numbers"),
    "objects": (write_objects, "no .npy file of numbers"),
    "archive": (lambda path: np.savez(path.open("wb"), FEATURES), r"archive of arrays \(.npz\)"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-5]), "no .npy file of numbers"),
    "empty": (lambda path: path.write_bytes(b""), "no .npy file of numbers"),
    "whole numbers": (lambda path: np.save(path, FEATURES.astype("int32")), "is of type int32; expected float16"),
    "one dimension": (lambda path: np.save(path, FEATURES[0]), r"has the shape \(4,\)"),
    "no images": (lambda path: np.save(path, FEATURES[:0]), r"has the shape \(0, 4\)"),
    "rows": (lambda path: np.save(path, FEATURES[:2]), "has 2 rows and own.csv 3 names"),
    "not a number": (lambda path: np.save(path, FEATURES * [1, 1, np.nan, 1]), "row 0, column 2 .* is nan"),
    "infinite": (lambda path: np.save(path, FEATURES + np.array([[0], [0], [np.inf]])), "row 2, column 0 .* is inf"),
    "large": (lambda path: np.save(path, FEATURES * 1e6), "more than float16 holds; scale"),
    "all the same": (lambda path: np.save(path, np.ones((3, 4))), "all rows are the same"),
}


@pytest.mark.parametrize(("write", "message"), ARRAYS.values(), ids=ARRAYS.keys())
def test_what_are_no_features_is_named(folder, write, message):
    write(folder / "own.npy")
    with pytest.raises(UserError, match=rf"backbones\.own.*own\.npy.*{message}"):
        embeddings.save("own", settings())
    assert len(embeddings.faults("own", settings(), None)) == 1 and not paths.WEIGHTS.exists()
    assert not (folder / "ran").exists()


TABLES = {
    "twice": ("image_id\na\nb\na\n", "line 4: image 'a' is already in line 2"),
    "twice in other forms": ("image_id\na\nb\na.jpg\n", "line 4: image 'a' is already in line 2"),
    "no name": ("image_id,n\na,1\n,2\nb,3\n", "line 3: the name of the image is empty"),
    "no column": ("one,two\na,1\nb,2\nc,3\n", "has the columns one, two; expected one called image_id"),
}


@pytest.mark.parametrize(("text", "message"), TABLES.values(), ids=TABLES.keys())
def test_names_that_cannot_be_used_are_named(folder, text, message):
    (folder / "own.csv").write_text(text)
    with pytest.raises(UserError, match=rf"own\.csv(.|\n)*{message}"):
        embeddings.save("own", settings())


def test_absent_files_and_other_hashes_are_named(folder):
    for change in ({"features": "gone.npy"}, {"ids": "gone.csv"}):
        with pytest.raises(UserError, match=r"gone\.\w+ does not exist"):
            embeddings.save("own", settings(**change))
    with pytest.raises(UserError, match=r"own\.npy has SHA-256 .*, expected 000"):
        embeddings.save("own", settings(sha256="0" * 64))
    embeddings.save("own", settings(sha256=files.sha256(folder / "own.npy")))


def test_images_without_a_row_and_rows_without_an_image_are_named(folder):
    with pytest.raises(UserError, match=r"backbones\.own\.ids: 1 of 4 images have no row: d$"):
        extract(folder, ["a", "b", "c", "d"])
    with pytest.raises(UserError, match=r"backbones\.own\.ids: 1 rows are of no image of the run: c;"):
        extract(folder, ["a", "b"])
    assert "no row: d" in embeddings.faults("own", settings(), ["a", "b", "c", "d"])[0]
    assert embeddings.faults("own", settings(), ["a", "b", "c"]) == []


def test_files_that_changed_after_they_were_read_are_noticed(folder, monkeypatch):
    monkeypatch.setattr(inputs, "KNOWN", folder / "digests")
    before = embeddings.entry("own", settings())
    assert before == {name: files.md5(folder / name) for name in ("own.npy", "own.csv")}
    embeddings.save("own", settings())
    np.save(folder / "own.npy", np.vstack([FEATURES, FEATURES])[1:4])
    assert embeddings.entry("own", settings()) != before
    with pytest.raises(UserError, match="others than those read before"):
        embeddings.extract("own", settings(), ["a", "b", "c"], folder / "features.npy")
    assert embeddings.is_here(settings()) and not embeddings.is_here(settings(ids="gone.csv"))
    with pytest.raises(UserError, match=r"gone\.csv does not exist"):
        embeddings.entry("own", settings(ids="gone.csv"))
