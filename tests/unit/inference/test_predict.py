import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesions import __main__ as main
from skinlesions.core import files, paths
from skinlesions.core.classes import CLASS_NAMES, CLASSES
from skinlesions.core.errors import UserError, run_main
from skinlesions.data import images, isic_csv
from skinlesions.evaluation import new_images
from skinlesions.inference import predict, predictor, published, publishing
from tests.helpers.orientations import ORIENTATIONS, encoded, noted
from tests.helpers.project import tiny
from tests.helpers.raw_files import jpeg, write_files, write_zip
from tests.helpers.trained_models import GIVEN, MODELS, trained_on, use_folder, write


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Iterator[None]:
    """A frozen model and one from scratch, which prepare images alike, and a fine-tuned one, which does not."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("project")
        use_folder(folder, monkeypatch)
        use_params(folder / "params.yaml", "all", monkeypatch)
        for seed, description in enumerate(MODELS.values()):
            write(description, seed)
        yield


def use_params(path: Path, ensemble: list[str] | str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest configuration with these models, of which the ensemble has some."""
    values = tiny()
    values["models"] |= {name: {"inputs": "features/vgg16.npy"} for name in (*MODELS, GIVEN.name, "resnet50")}
    files.write_json(path, values | {"compare": values["compare"] | {"ensemble": ensemble}})  # JSON is YAML
    monkeypatch.setattr(paths, "PARAMS", path)


def run(*arguments: object) -> int:
    """The exit code of the command line with these arguments."""
    try:
        run_main(lambda: main.run(["predict", *map(str, arguments)]))
    except SystemExit as end:
        return end.code
    return 0


def expected(contents: dict[str, bytes], folder: Path, *names: str) -> np.ndarray:
    """The mean of the models' probabilities for images, prepared as the pipeline prepares its own."""
    write_files(folder, contents)
    each = []
    for name in names:
        size, fit = MODELS[name].prepared_size, MODELS[name].fit
        pixels = np.stack([images.read(folder / file, size, fit) for file in contents])
        each.append(predictor.load(name).probabilities(pixels))
    return np.mean(each, axis=0)


def test_files_folders_and_zip_files_together_in_order_by_all_models(models, tmp_path, monkeypatch, capsys):
    contents = {f"{number}.jpg": jpeg(number, 60 + number, 50) for number in range(7)}
    named = list(contents.items())
    write_zip(tmp_path / "a.zip", dict(reversed(named[:3])))
    write_files(tmp_path / "folder", dict(named[3:6]))
    write_files(tmp_path, dict(named[6:]))
    monkeypatch.setattr(predict, "CHUNK", 3)
    out = tmp_path / "new" / "predictions.csv"
    assert run(tmp_path / "a.zip", tmp_path / "folder", tmp_path / "6.jpg", "--models", "ensemble", "--out", out) == 0
    table = isic_csv.read(out)
    assert list(table["image"]) == [str(number) for number in range(7)]
    probabilities = expected(contents, tmp_path / "all", *MODELS)
    np.testing.assert_allclose(isic_csv.probabilities(table), probabilities, rtol=1e-3, atol=1e-4)
    assert np.ptp(probabilities, axis=0).max() > 0.01
    assert list(out.parent.iterdir()) == [out]
    output = capsys.readouterr()
    assert output.out == "" and "predict: 100%" in output.err and "21/21" in output.err


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_photograph_and_the_same_turned_upright_get_one_prediction(models, tmp_path, monkeypatch, orientation):
    lying = np.random.default_rng(0).integers(0, 256, (50, 70, 3), "uint8")
    upright = Image.fromarray(ORIENTATIONS[orientation](lying))
    noted_file = encoded(Image.fromarray(lying), "PNG", exif=noted(orientation))
    write_files(tmp_path / "images", {"a.png": noted_file, "b.png": encoded(upright, "PNG")})
    out = tmp_path / "predictions.csv"
    assert run(tmp_path / "images", "--models", "scratch", "--out", out) == 0
    first, second = isic_csv.probabilities(isic_csv.read(out))
    assert (first == second).all()


def test_the_models_that_are_named_are_averaged(models, tmp_path):
    contents = {"b.jpg": jpeg(1), "c.png": jpeg(2)}
    probabilities = expected(contents, tmp_path / "images", "frozen", "scratch")
    out = tmp_path / "predictions.csv"
    assert run(tmp_path / "images", "--models", "scratch, frozen,scratch", "--out", out) == 0
    np.testing.assert_allclose(isic_csv.probabilities(isic_csv.read(out)), probabilities, rtol=1e-3, atol=1e-4)


def test_the_ensemble_is_that_of_the_parameters(models, tmp_path, monkeypatch, capsys):
    contents = {"b.jpg": jpeg(1), "c.png": jpeg(2)}
    write_files(tmp_path / "images", contents)
    out = tmp_path / "predictions.csv"
    use_params(tmp_path / "some.yaml", ["tuned", "scratch"], monkeypatch)
    assert run(tmp_path / "images", "--models", "ensemble,scratch", "--out", out) == 0
    probabilities = expected(contents, tmp_path / "same", "scratch", "tuned")
    np.testing.assert_allclose(isic_csv.probabilities(isic_csv.read(out)), probabilities, rtol=1e-3, atol=1e-4)
    out.unlink()
    use_params(tmp_path / "other.yaml", ["vgg16", "resnet50"], monkeypatch)
    assert run(tmp_path / "images", "--models", "ensemble", "--out", out) == 1
    message = capsys.readouterr().err
    assert "the ensemble has the member 'resnet50', which is not among frozen, scratch, tuned" in message
    assert not out.exists()


def test_what_cannot_be_read_is_named_and_the_rest_is_written(models, tmp_path, capsys):
    write_zip(tmp_path / "a.zip", {"1.jpg": jpeg(1), "../2.jpg": jpeg(2), "3.jpg": jpeg(3)[:1000], "4.jpg": jpeg(4)})
    write_files(tmp_path, {"text.jpg": b"no image", "broken.zip": b"PK"})
    (tmp_path / "empty").mkdir()
    inputs = [tmp_path / name for name in ("broken.zip", "text.jpg", "empty", "a.zip")]
    assert run(*inputs, "--models", "scratch", "--out", tmp_path / "p.csv") == 1
    assert list(isic_csv.read(tmp_path / "p.csv")["image"]) == ["1", "4"]
    heading, *faults = capsys.readouterr().err.splitlines()[-6:]
    assert heading == "could not be read (5), the others are written:"
    for fault, parts in zip(
        faults,
        [
            ("broken.zip", "not a whole zip file"),
            ("empty", "no image in it"),
            ("a.zip", "../2.jpg", "unsafe path"),
            ("text.jpg", "is no image that can be read but text"),
            ("a.zip", "3.jpg", "does not decode"),
        ],
        strict=True,
    ):
        assert all(part in fault for part in parts), fault


def test_where_nothing_can_be_read_what_was_there_stays(models, tmp_path, capsys):
    write_files(tmp_path, {"text.jpg": b"no image", "p.csv": b"old"})
    assert run(tmp_path / "text.jpg", "--models", "scratch", "--out", tmp_path / "p.csv") == 1
    assert "no image could be read:\n" in capsys.readouterr().err
    write_zip(tmp_path / "empty.zip", {})
    assert run(tmp_path / "empty.zip", "--models", "scratch", "--out", tmp_path / "p.csv") == 1
    assert "error: no image to predict:\n" in capsys.readouterr().err
    assert (tmp_path / "p.csv").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.zip", "p.csv", "text.jpg"]


def test_any_mode_and_any_size_in_which_a_lesion_can_be_seen(models, tmp_path, capsys):
    sizes = {"small": (32, 40), "wide": (900, 32), "tall": (33, 900), "large": (3000, 2000)}
    useless = {"tiny": (1, 1), "line": (20000, 2)}
    (tmp_path / "images").mkdir()
    for (name, size), mode in zip((sizes | useless).items(), ("L", "RGBA", "P", "1", "L", "L"), strict=True):
        Image.new(mode, size, 1).save(tmp_path / "images" / f"{name}.png")
    assert run(tmp_path / "images", "--models", "ensemble", "--out", tmp_path / "p.csv") == 1
    assert list(isic_csv.read(tmp_path / "p.csv")["image"]) == sorted(sizes)
    message = capsys.readouterr().err
    assert "tiny.png: is 1 x 1 pixels" in message and "line.png: is 20000 x 2 pixels" in message


def test_mistakes_on_the_command_line_are_found_before_any_work(models, tmp_path, monkeypatch, capsys):
    write_files(tmp_path, {"a.jpg": jpeg(1), "a.png": jpeg(2), "file": b""})
    image, out, alone = tmp_path / "a.jpg", tmp_path / "p.csv", tmp_path / "alone" / "b.jpg"
    write_files(alone.parent, {"b.jpg": jpeg(3)})

    def message(*arguments: object) -> str:
        assert run(*arguments) == 1
        return capsys.readouterr().err

    one = ("--models", "scratch")
    assert "image 'a' is also" in message(tmp_path, *one, "--out", out)
    assert "gone.jpg does not exist" in message(image, tmp_path / "gone.jpg", *one, "--out", out)
    unknown = message(image, "--models", "frozen,resnet", "--out", out)
    assert "--models: there is no trained model 'resnet'; there are frozen, scratch, tuned" in unknown
    assert "cannot be written; name a file" in message(image, "--out", tmp_path)
    assert "cannot be made (File exists)" in message(image, "--out", tmp_path / "file" / "p.csv")
    assert "is what is read here" in message(image, "--out", image)
    assert "is what is read here" in message(alone.parent, *one, "--out", alone)
    assert not out.exists()
    use_folder(tmp_path / "nowhere", monkeypatch)
    assert "there are no trained models in" in message(image, *one, "--out", out)
    assert "no model is published in" in message(image, "--out", out)


def test_members_on_embeddings_are_left_out_with_a_note(tmp_path, monkeypatch, capsys):
    use_folder(tmp_path / "project", monkeypatch)
    for seed, description in enumerate([MODELS["scratch"], GIVEN]):
        write(description, seed)
    use_params(tmp_path / "params.yaml", "all", monkeypatch)
    assert predict.model_names("ensemble") == ["scratch"]
    assert "left out" in (note := capsys.readouterr().err) and "given" in note
    write_files(tmp_path, {"a.jpg": jpeg(1)})
    assert run(tmp_path / "a.jpg", "--models", "given", "--out", tmp_path / "p.csv") == 1
    assert "given reads the embedding tiny" in capsys.readouterr().err and not (tmp_path / "p.csv").exists()
    use_params(tmp_path / "params.yaml", ["given"], monkeypatch)
    with pytest.raises(UserError, match="all members of the ensemble, given, read embeddings"):
        predict.model_names("ensemble")


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
import pytest
from skinlesions import __main__ as main
from skinlesions.inference import predict
from skinlesions.core.progress import Progress
from tests.helpers.trained_models import use_folder

folder, number, *arguments = sys.argv[1:]
sys.argv[1:] = ["predict", *arguments]
use_folder(Path(folder), pytest.MonkeyPatch())
predict.CHUNK = 2
advance, taken = Progress.advance, []

def advance_and_stop(self, amount=1):
    advance(self, amount)
    taken.append(amount)
    if sum(taken) == 4:
        os.kill(os.getpid(), int(number))

Progress.advance = advance_and_stop
main.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_what_was_there(models, tmp_path, number):
    write_files(tmp_path / "images", {f"{number}.jpg": jpeg(number) for number in range(6)})
    out = tmp_path / "out" / "p.csv"
    write_files(out.parent, {"p.csv": b"old"})
    arguments = [paths.MODELS.parent, str(int(number)), tmp_path / "images", "--models", "scratch", "--out", out]
    done = subprocess.run(
        [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + INTERRUPTED]
        + [str(argument) for argument in arguments],
        cwd=paths.ROOT,
        env=os.environ | {"PYTHONPATH": str(paths.ROOT)},
        capture_output=True,
        text=True,
    )
    assert out.read_bytes() == b"old"
    if number == signal.SIGINT:
        assert done.returncode == 130 and "p.csv is as it was before" in done.stderr
        assert "Traceback" not in done.stderr and list(out.parent.iterdir()) == [out]
    else:
        assert done.returncode == -signal.SIGKILL


def test_a_model_that_cannot_be_loaded_writes_nothing(models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "TRAIN", tmp_path)
    write_files(tmp_path, {"a.jpg": jpeg(1)})
    assert run(tmp_path / "a.jpg", "--models", "scratch", "--out", tmp_path / "p.csv") == 1
    assert "scratch/predictions.csv does not exist" in capsys.readouterr().err
    assert not (tmp_path / "p.csv").exists()


def test_real_images(models, ham10000_dir, tmp_path):
    archive = ham10000_dir / "ISIC2018_Task3_Validation_Input.zip"
    out = tmp_path / "p.csv"
    assert run(archive, "--models", "scratch", "--out", out) == 0
    truth = isic_csv.read_ground_truth(ham10000_dir / "ISIC2018_Task3_Validation_GroundTruth.csv")
    assert len(isic_csv.match(isic_csv.read(out), truth, "p.csv", "the truth")) == 193


@pytest.fixture
def clone(models, tmp_path, monkeypatch) -> Path:
    """A project with a published model, and nothing else."""
    trained_on("sample")
    publishing.publish("tuned", tmp_path / "clone" / "published_model")
    use_folder(tmp_path / "clone", monkeypatch)
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "clone" / "params.yaml")
    return tmp_path / "clone"


def test_without_names_it_is_the_published_model_which_needs_nothing_else(models, clone, tmp_path, capsys):
    contents = {"b.jpg": jpeg(1), "c.png": jpeg(2)}
    write_files(tmp_path / "images", contents)
    out = tmp_path / "p.csv"
    assert run(tmp_path / "images", "--out", out) == 0
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("medical device") == 1 and "1,234 synthetic images" in output.err
    record = published.read(paths.PUBLISHED_MODEL)
    own = published.load(paths.PUBLISHED_MODEL, record)
    squares = np.stack([images.read(tmp_path / "images" / name, 48, "pad") for name in contents])
    np.testing.assert_allclose(isic_csv.probabilities(isic_csv.read(out)), own.probabilities(squares), atol=1e-5)


def test_without_an_output_the_answers_are_a_table(models, clone, tmp_path, capsys):
    write_files(
        tmp_path / "images", {f"{number}.jpg": jpeg(number) for number in range(5)} | {"wrong.jpg": b"no image"}
    )
    assert run(tmp_path / "images", "--out", tmp_path / "p.csv") == 1
    capsys.readouterr()
    assert run(tmp_path / "images") == 1
    output = capsys.readouterr()
    header, *rows = (re.split(r"  +", line.strip()) for line in output.out.splitlines())
    assert header == ["file", "answer", "malignant", *CLASSES]
    assert [Path(row[0]).name for row in rows] == [f"{number}.jpg" for number in range(5)]
    expected = isic_csv.probabilities(isic_csv.read(tmp_path / "p.csv"))
    np.testing.assert_allclose(np.array([row[3:] for row in rows], float), expected, atol=6e-4)
    assert [row[1] for row in rows] == [CLASS_NAMES[CLASSES[place]] for place in expected.argmax(axis=1)]
    by_fold = next(
        point.by_fold
        for point in published.read(paths.PUBLISHED_MODEL).operating_points
        if (point.task, point.criterion, point.target) == ("malignant", "specificity", 0.9)
    )
    limit = sum(by_fold) / len(by_fold)
    malignant = expected[:, [CLASSES.index(name) for name in ("akiec", "bcc", "mel")]].sum(axis=1)
    assert [row[2] for row in rows] == ["yes" if value >= limit else "no" for value in malignant]
    assert f"{limit:.3f}" in output.err and "wrong.jpg" in output.err and output.err.count("medical device") == 1


def test_trained_models_have_a_table_too(models, tmp_path, capsys):
    write_files(tmp_path, {"a.jpg": jpeg(1)})
    assert run(tmp_path / "a.jpg", "--models", "tuned,frozen") == 0
    output = capsys.readouterr()
    val = new_images.parts({name: predictor.out_of_fold(MODELS[name]) for name in ("tuned", "frozen")})[1]
    point = new_images.find(new_images.operating_points(val), "malignant", "specificity", 0.9)
    assert len(output.out.splitlines()) == 2 and f"{point.threshold:.3f}" in output.err


def test_names_that_would_move_the_cursor_are_not_printed_as_they_are(models, clone, tmp_path, capsys):
    write_zip(tmp_path / "a.zip", {"\x1b[2Jfolder/1.jpg": jpeg(1)})
    assert run(tmp_path / "a.zip") == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output and r"\x1b[2Jfolder/1.jpg" in output


def test_a_damaged_published_model_is_one_clear_line(models, clone, tmp_path, capsys):
    write_files(tmp_path, {"a.jpg": jpeg(1)})
    (paths.PUBLISHED_MODEL / "fold_1.npz").write_bytes(b"damaged")
    assert run(tmp_path / "a.jpg") == 1
    output = capsys.readouterr()
    assert output.out == "" and len(output.err.splitlines()) == 1 and "fold_1.npz is damaged" in output.err
