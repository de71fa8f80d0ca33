import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from skinlesions.core import files, paths
from skinlesions.core.errors import UserError
from skinlesions.data import predictions
from skinlesions.evaluation import new_images, operating_points
from skinlesions.inference import predictor, published, publishing
from skinlesions.models import networks
from tests.helpers.trained_models import FOLDS, MODELS, trained_on, use_folder, write

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 48, 48, 3), dtype="uint8")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Path]:
    """Trained models, each of them published in a folder of its name."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("project")
        use_folder(folder, monkeypatch)
        trained_on("sample")
        for seed, description in enumerate(MODELS.values()):
            write(description, seed)
            publishing.publish(description.name, folder / description.name)
        yield folder


@pytest.fixture
def copy(project, tmp_path) -> Path:
    """A folder with a published model, to be damaged."""
    shutil.copytree(project / "tuned", tmp_path / "published")
    return tmp_path / "published"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in `folder`."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def loaded(folder: Path) -> predictor.Predictor:
    """The model that is published in `folder`."""
    return published.load(folder, published.read(folder))


def alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be nothing but `folder`."""
    use_folder(folder / "nowhere", monkeypatch)
    monkeypatch.setattr(paths, "PARAMS", folder / "nowhere.yaml")


@pytest.mark.parametrize("name", MODELS)
def test_a_published_model_answers_as_the_trained_one_and_needs_nothing_else(project, name, monkeypatch):
    trained = predictor.load(name)
    alone(project, monkeypatch)
    own = loaded(project / name)
    assert own.description == MODELS[name]
    # Kernels are rounded to float16, and the features of frozen models are not.
    np.testing.assert_allclose(own.logits(PIXELS), trained.logits(PIXELS), rtol=1e-3, atol=5e-3)
    np.testing.assert_allclose(own.probabilities(PIXELS), trained.probabilities(PIXELS), atol=published.TOLERANCE)
    assert np.ptp(own.probabilities(PIXELS), axis=0).max() > 1e-3


def test_the_same_model_gives_the_same_bytes_and_old_files_go(project, tmp_path):
    target = tmp_path / "published"
    files.write_bytes(target / "fold_7.npz", b"of an older model with more folds")
    files.write_bytes(target / "mine.txt", b"my own")
    publishing.publish("tuned", target)
    assert contents(target) == contents(project / "tuned") | {"mine.txt": b"my own"}
    publishing.publish(None, target)
    assert set(contents(target)) == {"README.md", "mine.txt"} and not published.is_there(target)


def test_the_record_has_what_a_prediction_takes(project):
    record = json.loads((project / "tuned" / "model.json").read_text())
    assert record["network"] == vars(MODELS["tuned"]) and len(record["weights"]) == FOLDS
    for fold, own in enumerate(record["weights"]):
        path = project / "tuned" / f"fold_{fold}.npz"
        assert own == {"bytes": path.stat().st_size, "sha256": files.sha256(path)}
    assert record["preprocessing"] == {
        "offset": [-103.939, -116.779, -123.68],
        "reverse_channels": True,
        "scale": [1.0, 1.0, 1.0],
    }
    asked = {(point["task"], point["criterion"], point["target"]) for point in record["operating_points"]}
    assert asked == {
        (task, criterion, target)
        for task in operating_points.TASKS
        for criterion in ("specificity", "sensitivity")
        for target in operating_points.TARGETS
    }
    assert record["data"]["source"] == "sample" and record["data"]["images"] == 1234
    assert {"keras", "keras_backend", "numpy"} <= record["versions"].keys()


def test_thresholds_that_nothing_reaches_are_kept(project):
    point = new_images.OperatingPoint("malignant", "specificity", 0.9, (0.5, float("inf")))
    stored = published.Point.of(point)
    assert stored.by_fold == [0.5, None] and stored.used() == point


@pytest.mark.parametrize(
    ("source", "licence", "other"), [("sample", "MIT", "BY-NC"), ("ham10000", "BY-NC", "synthetic")]
)
def test_the_licence_and_the_card_follow_from_the_images(project, tmp_path, monkeypatch, source, licence, other):
    monkeypatch.setattr(paths, "RAW", tmp_path / "raw")
    trained_on(source)
    publishing.publish("scratch", tmp_path / "published")
    found = {name: content.decode() for name, content in contents(tmp_path / "published").items() if "npz" not in name}
    assert licence in found["LICENSE"] and other not in found["LICENSE"]
    assert ("synthetic" in found["README.md"]) == (source == "sample")
    assert "1,234" in found["README.md"] and "567" in found["README.md"]
    assert licence.replace(" ", "-") in json.loads(found["model.json"])["licence"]
    address = "https://creativecommons.org/licenses/by-nc/4.0/"
    assert (address in found["LICENSE"]) == (source == "ham10000")


def test_the_card_has_the_scores_of_the_networks_on_their_test_images(project):
    test, val = new_images.parts({"tuned": predictions.read(paths.TRAIN / "tuned" / "predictions.csv")})
    table = operating_points.operating_points({"tuned": (test, val)}, np.ones((2, len(test.labels))), 0.95)
    row = table.query("task == 'malignant' and criterion == 'specificity' and target == 0.9").iloc[0]
    accuracy = (test.probabilities.argmax(axis=1) == test.labels).mean()
    card = (project / "tuned" / "README.md").read_text()
    for value in (row["sensitivity"], row["specificity"], accuracy):
        assert f"{value:.3f}" in card


def test_a_model_that_is_too_large_for_git_is_refused_and_what_was_there_stays(copy, monkeypatch):
    before = contents(copy)
    monkeypatch.setattr(published, "MAXIMUM_BYTES", 50_000)
    with pytest.raises(UserError, match=r"publish\.model: .* tuned take 0\.2 MB in 2 folds, .* at most 0 MB"):
        publishing.publish("tuned", copy)
    with pytest.raises(UserError, match="there is no trained model 'other'"):
        publishing.publish("other", copy)
    assert contents(copy) == before


@pytest.mark.parametrize("name", ["fold_1.npz", "model.json"])
def test_a_file_that_is_missing_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(UserError, match=rf"{name} does not exist; .*git checkout"):
        loaded(copy)


def test_weights_that_are_not_those_that_were_published_are_refused(copy):
    path = copy / "fold_1.npz"
    content = path.read_bytes()
    for wrong in (b"", content[:-1] + b"x", (copy / "fold_0.npz").read_bytes()[: len(content)]):
        path.write_bytes(wrong)
        with pytest.raises(UserError, match=r"fold_1\.npz is damaged: its SHA-256 is") as caught:
            loaded(copy)
        assert "\n" not in str(caught.value)
    path.write_bytes(content + b"x")
    with pytest.raises(UserError, match=r"fold_1\.npz is damaged: it has more than"):
        loaded(copy)


def test_weights_of_another_network_are_refused_even_with_their_hash(project, copy):
    path = copy / "fold_1.npz"
    shutil.copyfile(project / "scratch" / "fold_1.npz", path)
    record = json.loads((copy / "model.json").read_text())
    record["weights"][1] = {"bytes": path.stat().st_size, "sha256": files.sha256(path)}
    files.write_json(copy / "model.json", record)
    with pytest.raises(UserError, match=r"fold_1\.npz has not the \d+ arrays"):
        loaded(copy)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (("format",), 2, "format"),
        (("scaling",), [], "not everything is of 2 folds"),
        (("classes",), ["mel", "nv"], "has the classes mel, nv; expected"),
        (("network", "architecture"), "lenet", "describes no network .*unknown architecture 'lenet'"),
        (("network", "cut_at"), "no_such_layer", "describes no network .*no_such_layer"),
        (("network", "folds"), 3, "not everything is of 3 folds"),
        (("preprocessing", "offset"), [0.0, 0.0, 0.0], "another preprocessing"),
        (("weights", 0, "sha256"), "../../x", "sha256"),
        (("more",), 1, "more"),
    ],
)
def test_a_record_that_is_wrong_is_refused_in_one_line(copy, key, value, message):
    record = json.loads((copy / "model.json").read_text())
    *outer, last = key
    place = record
    for part in outer:
        place = place[part]
    place[last] = value
    files.write_json(copy / "model.json", record)
    with pytest.raises(UserError, match=message) as caught:
        loaded(copy)
    assert "model.json" in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_record_that_is_no_json_is_refused(copy):
    for wrong in (b"", b"{", b"\xff\xfe", b"[]", b"x" * 2_000_000):
        (copy / "model.json").write_bytes(wrong)
        with pytest.raises(UserError, match=r"model\.json is damaged"):
            loaded(copy)


def test_a_frozen_model_is_published_with_its_trunk(project):
    record = published.read(project / "frozen")
    network = networks.build(record.network)
    assert network.get_layer("trunk").count_params() > 0
    assert all(own.bytes > 2 * network.count_params() * 0.8 for own in record.weights)


def test_a_model_is_held_against_the_report(project, copy, tmp_path):
    reports = tmp_path / "predictions"
    for name in ("tuned", "frozen"):
        predictions.write(reports / f"{name}.csv.gz", predictions.read(paths.TRAIN / name / "predictions.csv"))
    assert list(published.faults(copy, reports)) == list(published.faults(tmp_path / "nothing", reports)) == []
    (reports / "frozen.csv.gz").rename(reports / "tuned.csv.gz")
    (fault,) = published.faults(copy, reports)
    assert "model.json" in fault and "another calibration" in fault
    (reports / "tuned.csv.gz").unlink()
    (fault,) = published.faults(copy, reports)
    assert "tuned.csv.gz does not exist" in fault
    (copy / "fold_0.npz").write_bytes(b"damaged")
    (fault,) = published.faults(copy, reports)
    assert "fold_0.npz is damaged" in fault
