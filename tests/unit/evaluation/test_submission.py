import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from skinlesions import __main__ as main
from skinlesions.core import files, paths
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import isic_csv, predictions
from skinlesions.evaluation import bootstrap, submission
from skinlesions.evaluation.metrics import softmax, summary
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

FEW = {"confidence": 0.95, "resamples": 50, "seed": 1}


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Labels, probabilities, lesions and names of made-up images."""
    test = predictions.select(synthetic_predictions(synthetic_index()), "test")
    probabilities = softmax(predictions.logits(test))
    return predictions.labels(test), probabilities, test["lesion_id"].to_numpy(), list(test["image_id"])


@pytest.fixture
def folder(tmp_path, sample) -> Path:
    """predictions.csv, and the ground truth as truth.csv (one-hot) and metadata.csv (with lesions)."""
    labels, probabilities, lesions, names = sample
    isic_csv.write(tmp_path / "predictions.csv", names, probabilities)
    isic_csv.write(tmp_path / "truth.csv", names, np.eye(7)[labels])
    metadata = pd.DataFrame({"image_id": names, "lesion_id": lesions, "dx": [CLASSES[k] for k in labels], "age": 50})
    files.write_csv(tmp_path / "metadata.csv", metadata.sample(frac=1, random_state=0))
    return tmp_path


def estimates(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    return table.set_index(["metric", "class"])["estimate"].to_dict()


def run(*arguments: object) -> None:
    main.run(["evaluate", *map(str, arguments)])


def test_scores_are_those_of_the_report_with_intervals_around_them(sample):
    labels, probabilities, lesions, _ = sample
    table = submission.score(labels, probabilities, lesions, **FEW)
    assert list(zip(table["metric"], table["class"], strict=True)) == list(submission.SCORES)
    found = {submission._name(*key): value for key, value in estimates(table).items()}
    assert found == summary(labels, probabilities, by_class=True)
    assert (table["low"] <= table["high"]).all()
    # The bins of the calibration error move with no resample, so its bootstrap is biased upwards: not that one.
    others = table[table["metric"] != "ece"]
    assert ((others["low"] <= others["estimate"]) & (others["estimate"] <= others["high"])).all()


def test_intervals_resample_lesions_and_not_images(sample):
    labels, probabilities, _, names = sample
    once = submission.score(labels, probabilities, np.array(names), **FEW)
    ten = [np.repeat(values, 10, axis=0) for values in (labels, probabilities, np.array(names))]
    same_lesion = submission.score(*ten, **FEW)
    # Ten copies of every image in its lesion tell nothing new; called lesions of their own, they seem to.
    # (But for the calibration error: it compares bins with an equal number of images, which may cut through copies.)
    compared = once["metric"] != "ece"
    pd.testing.assert_frame_equal(once[compared], same_lesion[compared], rtol=1e-9)
    own_lesions = submission.score(*ten[:2], np.arange(len(ten[0])), **FEW)
    width = (once["high"] - once["low"])[0], (own_lesions["high"] - own_lesions["low"])[0]
    assert width[1] < width[0] / 2


@pytest.mark.parametrize("method", bootstrap.METHODS)
def test_the_order_of_images_does_not_matter_and_the_seed_does(sample, method):
    labels, probabilities, lesions, _ = sample
    settings = FEW | {"method": method}
    table = submission.score(labels, probabilities, lesions, **settings)
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = submission.score(labels[order], probabilities[order], lesions[order], **settings)
    pd.testing.assert_frame_equal(shuffled, table, rtol=1e-9)
    other = submission.score(labels, probabilities, lesions, **(settings | {"seed": 2}))
    assert (other["estimate"] == table["estimate"]).all() and (other["low"] != table["low"]).any()


def test_bca_intervals_agree_with_scipy(sample):
    """Of the recall of melanoma, where every lesion counts as one case: the bias-corrected interval of a mean."""
    labels, probabilities, _, names = sample
    settings = {"confidence": 0.9, "resamples": 4000, "seed": 1}
    table = submission.score(labels, probabilities, np.array(names), **settings, method="bca")
    hits = (probabilities.argmax(axis=1) == labels)[labels == CLASSES.index("mel")].astype(float)
    generator = np.random.default_rng(0)
    known = stats.bootstrap((hits,), np.mean, n_resamples=4000, confidence_level=0.9, method="BCa", rng=generator)
    found = table.set_index(["metric", "class"]).loc[("recall", "mel")]
    step = 1 / len(hits)
    assert found["low"] == pytest.approx(known.confidence_interval.low, abs=step)
    assert found["high"] == pytest.approx(known.confidence_interval.high, abs=step)

    plain = submission.score(labels, probabilities, np.array(names), **settings)
    assert (plain["estimate"] == table["estimate"]).all() and (plain["low"] != table["low"]).any()
    assert not table.isna().any().any()
    with pytest.raises(ValueError, match="unknown interval method 'exact'; known: percentile, bca"):
        submission.score(labels, probabilities, np.array(names), **settings, method="exact")


def test_a_class_without_an_image_is_left_out_and_named(folder, sample):
    labels, probabilities, _, names = sample
    kept = labels != CLASSES.index("df")
    images = [name for name, keep in zip(names, kept, strict=True) if keep]
    isic_csv.write(folder / "predictions.csv", images, probabilities[kept])
    isic_csv.write(folder / "truth.csv", images, np.eye(7)[labels[kept]])
    scores, about = submission.report(folder / "predictions.csv", folder / "truth.csv", **FEW)
    assert "df" not in set(scores["class"]) and not scores.isna().any().any()
    found = estimates(scores)
    recalls = [found["recall", dx] for dx in CLASSES if dx != "df"]
    assert found["balanced_accuracy", ""] == pytest.approx(np.mean(recalls))
    assert "no image of df: its scores are left out" in submission.as_text(scores, about)
    assert about["images_by_class"]["df"] == 0
    files.json_bytes(submission.as_json(scores, about))  # refuses NaN


def test_one_class_alone_has_no_area_under_the_curve():
    probabilities = softmax(np.random.default_rng(0).normal(size=(20, 7)))
    labels = np.full(20, CLASSES.index("mel"))
    scores = submission.score(labels, probabilities, np.arange(20), **FEW)
    assert set(scores["class"]) == {"", "mel"} and not {"macro_auc", "auc", "specificity"} & set(scores["metric"])
    assert not scores[["estimate"]].isna().any().any()


def test_a_truth_of_one_class_names_what_is_undefined(tmp_path, sample):
    _, probabilities, _, names = sample
    isic_csv.write(tmp_path / "p.csv", names, probabilities)
    isic_csv.write(tmp_path / "t.csv", names, np.tile(np.eye(7)[CLASSES.index("mel")], (len(names), 1)))
    text = submission.as_text(*submission.report(tmp_path / "p.csv", tmp_path / "t.csv", **FEW))
    assert "undefined here and left out: macro AUC, specificity of mel, AUC of mel" in text


def test_a_class_that_is_never_predicted_has_no_precision(sample):
    labels, _, lesions, _ = sample
    always = np.tile(np.eye(7)[CLASSES.index("nv")], (len(labels), 1))
    scores = submission.score(labels, always, lesions, **FEW)
    found = estimates(scores)
    assert [dx for metric, dx in found if metric == "precision"] == ["nv"]
    assert found["balanced_accuracy", ""] == pytest.approx(1 / 7)


def test_the_command_prints_and_writes_the_same_scores(folder, sample, capsys):
    labels, probabilities, lesions, _ = sample
    out = folder / "out" / "scores.json"
    run(folder / "predictions.csv", folder / "metadata.csv", "--out", out, "--resamples", 50, "--seed", 1)
    text = capsys.readouterr().out
    assert text.startswith(f"{len(labels)} images of {len(set(lesions))} lesions; percentile intervals from 50 ")
    content = files.read_json(out)
    assert content["resampled"] == "lesions" and content["lesions"] == len(set(lesions))
    assert (content["images"], content["seed"], content["confidence"]) == (len(labels), 1, 0.95)
    assert content["method"] == "percentile"
    assert sum(content["images_by_class"].values()) == len(labels)

    table = submission.score(labels, probabilities, lesions, **FEW)
    for metric, dx, *values in table.itertuples(index=False):
        entry = content["scores_by_class"][metric][dx] if dx else content["scores"][metric]
        # The file has six digits of every probability.
        assert [entry["estimate"], entry["low"], entry["high"]] == pytest.approx(values, abs=1e-5)
    estimate, low, high = table.loc[0, ["estimate", "low", "high"]]
    assert re.search(rf"^balanced accuracy +{estimate:.4f}  {low:.4f} to {high:.4f}$", text, re.MULTILINE)
    lines = [line for line in text.partition("\nAs the official")[0].splitlines()[3:] if line]
    assert len(lines) == len(submission.SCORES) and len({line.index(".") for line in lines}) == 1


def test_the_command_takes_the_method_of_the_intervals(folder, sample, capsys):
    labels, probabilities, lesions, _ = sample
    paths_given = (folder / "predictions.csv", folder / "metadata.csv")
    out = folder / "scores.json"
    run(*paths_given, "--out", out, "--resamples", 50, "--seed", 1, "--method", "bca")
    assert "lesions; bias-corrected and accelerated (bca) intervals from 50 resamples" in capsys.readouterr().out
    content = files.read_json(out)
    assert content["method"] == "bca"
    _, _, estimate, low, high = submission.score(labels, probabilities, lesions, **FEW, method="bca").loc[0]
    found = content["scores"]["balanced_accuracy"]
    assert [found["estimate"], found["low"], found["high"]] == pytest.approx([estimate, low, high], abs=1e-5)
    with pytest.raises(SystemExit):
        run(*paths_given, "--method", "exact")
    assert "invalid choice: 'exact'" in capsys.readouterr().err


def test_without_lesions_the_output_says_what_is_resampled(folder, capsys):
    run(folder / "predictions.csv", folder / "truth.csv", "--resamples", 10)
    assert "each image counts as a lesion of its own" in capsys.readouterr().out.splitlines()[0]
    scores, about = submission.report(folder / "predictions.csv", folder / "truth.csv", **FEW)
    assert (about["resampled"], about["lesions"]) == ("images", None)
    with_lesions, _ = submission.report(folder / "predictions.csv", folder / "metadata.csv", **FEW)
    assert estimates(scores) == pytest.approx(estimates(with_lesions), rel=1e-9)


def test_a_constant_answer_is_said_to_be_one(folder, sample):
    labels, _, _, names = sample
    isic_csv.write(folder / "predictions.csv", names, np.tile(np.eye(7)[CLASSES.index("nv")], (len(labels), 1)))
    _, about = submission.report(folder / "predictions.csv", folder / "truth.csv", **FEW)
    assert any("always answering nv" in note for note in about["notes"])
    _, about = submission.report(folder / "truth.csv", folder / "truth.csv", **FEW)
    assert not any("always answering" in note for note in about["notes"])


def test_rows_of_another_sum_are_divided_by_it_where_that_matters_only(folder, sample):
    labels, probabilities, lesions, names = sample
    scale = np.random.default_rng(5).uniform(0.3, 0.9, size=(len(labels), 1))
    scaled = (probabilities * scale).round(12)
    rows = [f"{name},{','.join(map(str, row))}" for name, row in zip(names, scaled, strict=True)]
    (folder / "predictions.csv").write_text("\n".join(["image," + ",".join(CLASSES), *rows]))
    for method in bootstrap.METHODS:
        scores, about = submission.report(folder / "predictions.csv", folder / "metadata.csv", **FEW, method=method)
        assert sum("another sum than 1" in note for note in about["notes"]) == 1
        alike = submission.score(labels, probabilities, lesions, **FEW, method=method)
        of_distributions = scores["metric"].isin(["balanced_accuracy", "recall", "nll", "brier"])
        pd.testing.assert_frame_equal(scores[of_distributions], alike[of_distributions], atol=1e-4)
    found = estimates(scores)
    position = CLASSES.index("mel")
    auc = roc_auc_score(labels == position, scaled[:, position])
    assert found["auc", "mel"] == pytest.approx(auc) and auc != pytest.approx(estimates(alike)["auc", "mel"])
    # A row of zeros says nothing.
    assert submission.distributions(np.array([[0.0, 0.0], [0.25, 0.75]])).tolist() == [[0.5, 0.5], [0.25, 0.75]]


def test_weights_of_images_weigh_estimates_and_resamples(sample):
    labels, probabilities, lesions, _ = sample
    weights = np.where(np.arange(len(labels)) % 3 == 0, 3.0, 1.0)
    heavy = submission.score(labels, probabilities, lesions, **FEW, weights=weights)
    counts = weights.astype(int)
    repeated = [np.repeat(values, counts, axis=0) for values in (labels, probabilities, lesions)]
    copies = submission.score(*repeated, **FEW)
    compared = heavy["metric"] != "ece"  # its bins hold equal numbers of rows
    pd.testing.assert_frame_equal(heavy[compared], copies[compared], rtol=1e-9)
    with pytest.raises(UserError, match="percentile"):
        submission.score(labels, probabilities, lesions, **FEW, weights=weights, method="bca")


def test_more_resamples_than_memory_are_refused(sample):
    labels, probabilities, lesions, _ = sample
    most = submission.MAXIMUM_DRAWS // len(labels)
    with pytest.raises(UserError, match=f"at most {most:,}"):
        submission.score(labels, probabilities, lesions, **(FEW | {"resamples": 1_000_000_000}))


@pytest.mark.parametrize("target", ["predictions.csv", "link.csv", "truth.csv"])
def test_an_output_that_is_an_input_is_refused(folder, target):
    (folder / "link.csv").symlink_to("predictions.csv")
    before = (folder / "predictions.csv").read_bytes()
    with pytest.raises(UserError, match="--out"):
        run(folder / "predictions.csv", folder / "truth.csv", "--out", folder / target)
    assert (folder / "predictions.csv").read_bytes() == before


def test_scores_alone_go_to_standard_output(folder, capsys):
    run(folder / "predictions.csv", folder / "truth.csv", "--resamples", 10, "--out", "-")
    assert json.loads(capsys.readouterr().out)["resamples"] == 10


@pytest.mark.parametrize(
    ("option", "message"),
    [(("--resamples", 9), "10 or more"), (("--seed", -1), "0 or more"), (("--confidence", 95), "between 0 and 1")],
)
def test_options_out_of_range_are_refused(folder, capsys, option, message):
    with pytest.raises(SystemExit) as caught:
        run(folder / "predictions.csv", folder / "truth.csv", *option)
    assert caught.value.code == 2
    assert f"argument {option[0]}: must be {message}" in capsys.readouterr().err


def test_it_runs_where_no_deep_learning_is_installed(folder):
    script = (
        "import runpy, sys; sys.modules['keras'] = sys.modules['tensorflow'] = sys.modules['jax'] = None; "
        "runpy.run_module('skinlesions', run_name='__main__')"
    )
    arguments = ("evaluate", folder / "predictions.csv", folder / "truth.csv", "--resamples", "10")
    done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "balanced accuracy" in done.stdout and done.stderr == ""


def test_the_published_truth_scores_full_marks_against_itself(ham10000_dir, tmp_path):
    truth = ham10000_dir / "ISIC2018_Task3_Validation_GroundTruth.csv"
    scores, about = submission.report(truth, truth, **FEW)
    assert about["challenge"]["balanced_accuracy"] == about["challenge"]["macro_average"]["auc"] == 1
    found = estimates(scores)
    perfect = {key: float(key[0] not in ("nll", "brier", "ece")) for key in submission.SCORES}
    assert found == pytest.approx(perfect)
    assert about["images"] == 193 and json.loads(files.json_bytes(submission.as_json(scores, about)))
