import gzip
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from skinlesions.commands import readme, verify
from skinlesions.core import environment, files, paths
from skinlesions.core.classes import LOGIT_COLUMNS
from skinlesions.core.errors import UserError
from skinlesions.data import balancing, predictions
from skinlesions.evaluation import classification, comparison, external, metrics, study
from skinlesions.report import contents
from tests.helpers.external_sets import made_up
from tests.helpers.studies import SETTINGS as CHOSEN
from tests.helpers.studies import study_of
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

SETTINGS = CHOSEN.model_copy(update={"resamples": 50, "test_resamples": 80})
COMPARED = {
    *("comparison", "differences", "classes", "confusion", "folds", "transfer", "claims", "temperatures"),
    *("ensembles", "ensemble_weights", "ensemble_spreads", "calibration", "class_calibration", "reliability"),
    *("discrimination", "operating_points", "curves", "groups", "group_scores", "group_differences", "nevi"),
    *("coverage_curves", "coverage_areas", "coverage_classes"),
}
MODELS = {"resnet50": 1.6, "vgg16": 0.9}
TRAINED = {f"{model}/{name}" for model in MODELS for name in ("confusion", "classification_report")}
CHECKED = {f"tables/compare/{name}.csv" for name in COMPARED} | {f"tables/train/{name}.csv" for name in TRAINED}
CHECKED |= {"metrics.json"}


def publish_training(folder, model, predicted):
    """Write the tables of a training that follow from its predictions; its metrics."""
    test = predictions.select(predicted, "test")
    labels, probabilities = predictions.labels(test), metrics.softmax(predictions.logits(test))
    confusion = classification.confusion_table(model, labels, probabilities.argmax(axis=1))
    files.write_csv(folder / "confusion.csv", confusion)
    files.write_csv(folder / "classification_report.csv", classification.report_by_class(labels, probabilities))
    files.write_csv(folder / "history.csv", pd.DataFrame({"epoch": [1]}))
    return metrics.summary(labels, probabilities)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A published report of two models, made the way the pipeline makes it: from the uncompressed predictions."""
    tmp_path = tmp_path_factory.mktemp("published")
    index = synthetic_index()
    models = {}
    trained = {}
    for name, skill in MODELS.items():
        path = tmp_path / "train" / name / "predictions.csv"
        predictions.write(path, synthetic_predictions(index, skill, seed=len(name)))
        models[name] = predictions.read(path)
        published = tmp_path / "reports" / "predictions" / f"{name}.csv.gz"
        published.parent.mkdir(parents=True, exist_ok=True)
        published.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        trained[name] = publish_training(tmp_path / "reports" / "tables" / "train" / name, name, models[name])
    made = study_of(models)
    folder = tmp_path / "reports" / "predictions"
    files.write_json(folder / "models.json", made.descriptions)
    balancing.write(folder / "plan.json", made.plan)
    files.write_csv(folder / "metadata.csv", made.metadata)
    tables = study.tables(made, SETTINGS)
    for name, table in tables.items():
        files.write_csv(tmp_path / "reports" / "tables" / "compare" / f"{name}.csv", table)
    files.write_json(tmp_path / "reports" / "provenance.json", {"parameters": {"compare": SETTINGS.model_dump()}})
    files.write_json(tmp_path / "reports" / "metrics.json", {"compare": comparison.metrics(tables), "train": trained})
    return tmp_path / "reports"


@pytest.fixture
def reports(published, tmp_path):
    """A copy of that report, to tamper with."""
    return shutil.copytree(published, tmp_path / "reports")


def faults(reports):
    return [fault for _, found in verify.differences(reports) for fault in found]


def replace_in(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_an_honest_report_passes(reports):
    checked = dict(verify.differences(reports))
    assert not any(checked.values())
    assert {name.removeprefix(f"{reports}/") for name in checked} == CHECKED, "and no history: it needs the images"


def test_a_model_that_claims_another_training_is_found_out(reports):
    replace_in(reports / "predictions" / "models.json", "frozen features", "from scratch")
    (fault,) = [fault for fault in faults(reports) if "comparison.csv" in fault]
    assert "column training: published 'frozen features', computed 'from scratch'" in fault


@pytest.mark.parametrize("name", ["models.json", "plan.json", "metadata.csv"])
def test_what_is_missing_beside_the_predictions_is_named(reports, name):
    (reports / "predictions" / name).unlink()
    with pytest.raises(UserError, match=rf"predictions/{re.escape(name)} (cannot be read|does not exist)"):
        faults(reports)


def test_another_plan_shows_in_the_calibration(reports):
    replace_in(reports / "predictions" / "plan.json", "balanced_weights", "none")
    found = faults(reports)
    assert any("calibration.csv" in fault for fault in found)
    assert not any("comparison.csv, row 1" in fault and "balanced_accuracy" in fault for fault in found)


def test_other_metadata_show_in_the_groups(reports):
    replace_in(reports / "predictions" / "metadata.csv", "female", "male")
    assert any("groups.csv" in fault for fault in faults(reports))


def test_a_tampered_number_is_named_with_row_and_column(reports):
    path = reports / "tables" / "compare" / "folds.csv"
    line = path.read_text().splitlines()[3]
    value = line.rsplit(",", 1)[1]
    replace_in(path, line, line.replace(value, f"{float(value) + 1e-4:.6g}"))
    (fault,) = faults(reports)
    assert "folds.csv, row 3, column balanced_accuracy: published" in fault
    assert repr(value) in fault


def test_rounding_of_the_last_digit_is_no_difference(reports):
    path = reports / "tables" / "compare" / "folds.csv"
    value = path.read_text().splitlines()[1].rsplit(",", 1)[1]
    replace_in(path, value, str(float(value) * (1 + 1e-6)))
    assert faults(reports) == []


def test_text_and_counts_must_be_exact(reports):
    compare = reports / "tables" / "compare"
    replace_in(compare / "claims.csv", "475 of 1,499", "474 of 1,499")
    line = (compare / "classes.csv").read_text().splitlines()[1]
    cells = line.split(",")
    replace_in(compare / "classes.csv", line, ",".join([*cells[:2], cells[2] + ".00001", *cells[3:]]))
    found = faults(reports)
    assert len(found) == 2
    assert any("claims.csv, row 1, column differs" in fault for fault in found)
    assert any("classes.csv, row 1, column images" in fault for fault in found)


@pytest.mark.parametrize(("published", "differs"), [("1,1,1", 0), ("1,0.9,1", 2), ("1,,", 0)])
def test_an_interval_of_no_width_is_as_good_as_none(tmp_path, published, differs):
    path = tmp_path / "scores.csv"
    path.write_text(f"score,score_low,score_high\n{published}\n")
    computed = pd.DataFrame({"score": [1.0], "score_low": [float("nan")], "score_high": [float("nan")]})
    assert len(verify.table_faults(path, computed)) == differs


def test_a_tampered_metric_is_named(reports):
    content = files.read_json(reports / "metrics.json")
    compared = content["compare"]
    compared["vgg16"]["accuracy"] += 0.01
    compared["resnet50"]["bonus"] = 1.0
    del compared["ensemble"]["nll"]
    content["train"]["vgg16"]["brier"] += 0.01
    files.write_json(reports / "metrics.json", content)
    found = faults(reports)
    assert len(found) == 4
    assert "metrics.json, compare.ensemble.nll: published 'nothing'" in found[0]
    assert "metrics.json, compare.resnet50.bonus: published 1.0, computed 'nothing'" in found[1]
    assert "metrics.json, compare.vgg16.accuracy" in found[2]
    assert "metrics.json, train.vgg16.brier" in found[3]


def test_a_tampered_prediction_shows_in_the_tables(reports):
    path = reports / "predictions" / "vgg16.csv.gz"
    table = predictions.read(path)
    # One image that was called rightly is now called something else.
    called_nv = table[list(LOGIT_COLUMNS)].idxmax(axis=1) == "logit_nv"
    right = (table["split"] == "test") & (table["dx"] == "nv") & called_nv
    table.loc[right.idxmax(), "logit_df"] = 50.0
    predictions.write(path, table)
    found = faults(reports)
    assert any("comparison.csv" in fault and "column accuracy:" in fault for fault in found)
    for name in ("compare/confusion", "train/vgg16/confusion", "train/vgg16/classification_report"):
        assert any(f"{name}.csv" in fault for fault in found), name
    for key in ("compare.vgg16.accuracy", "train.vgg16.accuracy"):
        assert any(f"metrics.json, {key}" in fault for fault in found), key
    assert not any("train/resnet50" in fault for fault in found)


def test_missing_and_extra_files_are_differences(reports):
    compare = reports / "tables" / "compare"
    (compare / "folds.csv").rename(compare / "bonus.csv")
    (reports / "metrics.json").unlink()
    found = faults(reports)
    assert len(found) == 3
    assert "folds.csv: does not exist" in found[0]
    assert "bonus.csv: no table of this name" in found[1]
    assert "metrics.json: does not exist" in found[2]


def test_a_metrics_file_of_another_shape_is_a_difference(reports):
    for content, message in (("{}", "has no block 'compare'"), ("[1]", "has no block"), ("{", "is not JSON")):
        (reports / "metrics.json").write_text(content)
        (fault,) = faults(reports)
        assert message in fault


def test_missing_rows_columns_and_models_are_differences(reports):
    compare = reports / "tables" / "compare"
    text = (compare / "folds.csv").read_text()
    (compare / "folds.csv").write_text(text.rsplit("\n", 2)[0] + "\n")
    replace_in(compare / "classes.csv", "lesions", "patients")
    (compare / "temperatures.csv").write_bytes(b"")
    found = faults(reports)
    assert len(found) == 3
    assert any("folds.csv: has 19 rows; computed: 20" in fault for fault in found)
    assert any("classes.csv: has the columns" in fault for fault in found)
    assert any("temperatures.csv: is not CSV" in fault for fault in found)


def test_a_model_is_described_and_predicted_or_neither(reports):
    folder = reports / "predictions"
    (folder / "vgg16.csv.gz").rename(folder / "other.csv.gz")
    with pytest.raises(UserError, match=r"vgg16\.csv\.gz does not exist"):
        faults(reports)
    described = files.read_json(folder / "models.json")
    del described["vgg16"]
    files.write_json(folder / "models.json", described)
    with pytest.raises(UserError, match=r"other\.csv\.gz is of a model"):
        faults(reports)
    (folder / "other.csv.gz").unlink()
    assert any("comparison.csv: has 5 rows; computed: 2" in fault for fault in faults(reports))


def test_the_parameters_are_those_of_the_published_run(reports):
    path = reports / "provenance.json"
    assert verify.settings(reports) == SETTINGS
    changed = SETTINGS.model_copy(update={"confidence": 0.5})
    files.write_json(path, {"parameters": {"compare": changed.model_dump()}})
    assert any("comparison.csv" in fault and "_low" in fault for fault in faults(reports))


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"parameters": {"compare": {"confidence": 2}}}'])
def test_a_report_that_does_not_say_its_parameters_is_refused(reports, content):
    path = reports / "provenance.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError, match=r"provenance\.json .*parameters\.compare"):
        faults(reports)


def test_without_predictions_it_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="make report"):
        list(verify.differences(tmp_path))


@pytest.fixture
def whole(reports, tmp_path, monkeypatch):
    """That report as the command finds it: with a notebook, the list of its files, and a README."""
    files.write_text(reports / "notebooks" / "04_compare.ipynb", '{"outputs": ["balanced accuracy 0.738"]}')
    contents.write(reports)
    monkeypatch.setattr(paths, "REPORTS", reports)
    monkeypatch.setattr(paths, "DVC_LOCK", tmp_path / "dvc.lock")
    monkeypatch.setattr(readme, "README", tmp_path / "README.md")
    files.write_text(readme.README, f"before\n{readme.BEGIN}\n{readme.END}\nafter\n")
    readme.renew()
    return reports


def test_the_command_prints_a_line_per_file_and_fails_on_a_difference(whole, capsys):
    assert verify.agree()
    output = capsys.readouterr().out
    assert output.count("ok   ") == len(CHECKED) + 2
    assert f"all {len(CHECKED)} files" in output

    path = whole / "tables" / "compare" / "confusion.csv"
    path.write_text(path.read_text().replace("ensemble", "Ensemble"))
    assert not verify.agree()
    output = capsys.readouterr().out
    assert "49 difference(s)" in output
    assert output.count("confusion.csv, row") == verify.SHOWN


@pytest.mark.parametrize("edited", ["notebook", "table that does not follow", "README"])
def test_a_hand_edited_file_of_any_kind_is_found(whole, capsys, edited):
    if edited == "notebook":
        path = whole / "notebooks" / "04_compare.ipynb"
        replace_in(path, "0.738", "0.838")
    elif edited == "README":
        path = readme.README
        score = re.search(r"0\.\d{3}", path.read_text())[0]
        replace_in(path, score, "0.999")
    else:
        path = whole / "tables" / "train" / "vgg16" / "history.csv"
        replace_in(path, "1", "2")
    assert not verify.agree()
    output = capsys.readouterr().out
    assert output.count("FAIL") == 1 and path.name in output


def test_it_needs_no_package_but_those_that_are_installed_for_it():
    """Of the packages that the environment of all commands has, it imports none that requirements-verify.txt lacks."""
    code = (
        "import sys, importlib.metadata as m, skinlesions.__main__, skinlesions.commands.verify; "
        "loaded, known = list(sys.modules), m.packages_distributions(); "
        "print(*{known[name][0].lower() for name in loaded if name in known})"
    )
    command = [sys.executable, "-c", code]
    imported = set(subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout.split())
    text = (paths.ROOT / "requirements-verify.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([a-z0-9.-]+)==", text, re.MULTILINE))
    needed = {name.replace("_", "-") for name in imported & environment.recorded().keys()}
    assert {"numpy", "pandas", "scipy", "scikit-learn"} <= needed <= pinned
    assert not imported & {"tensorflow", "keras", "dvc", "matplotlib", "ipython"}


@pytest.fixture
def with_external(reports):
    """That report with an external set, scored as the stage does it: from the published comparison."""
    folder = reports / "predictions" / "external"
    folder.mkdir()
    folds, _ = made_up(folder, {"resnet50": 2.0, "vgg16": 1.0, "ensemble": 2.5})
    compared = pd.read_csv(reports / "tables" / "compare" / "comparison.csv")
    for name, table in external.tables(folder, folds, compared, SETTINGS).items():
        files.write_csv(reports / "tables" / "external" / f"{name}.csv", table)
    return reports


def test_the_external_tables_follow_too(with_external):
    checked = dict(verify.differences(with_external))
    assert not any(checked.values())
    found = {name.rsplit("/", 1)[1] for name in checked if "/external/" in name}
    assert found == {f"{name}.csv" for name in ("scores", "against", "recalls", "confusion", "folds")}


def test_a_tampered_external_prediction_shows_in_its_tables(with_external):
    path = with_external / "predictions" / "external" / "vgg16.csv"
    table = pd.read_csv(path)
    table.iloc[0, 1:] = [0, 0, 1, 0, 0, 0, 0] if table.iloc[0, 3] < 0.5 else [1, 0, 0, 0, 0, 0, 0]
    files.write_csv(path, table)
    found = faults(with_external)
    assert found and all("/external/" in fault for fault in found)
    assert any("scores.csv" in fault for fault in found)


def test_a_missing_table_of_single_networks_is_named(with_external):
    (with_external / "tables" / "external" / "folds.csv").unlink()
    with pytest.raises(UserError, match=r"external/folds\.csv cannot be read"):
        faults(with_external)
