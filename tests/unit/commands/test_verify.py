import gzip
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from skinlesions.commands import verify
from skinlesions.core import config, files, paths
from skinlesions.core.classes import LOGIT_COLUMNS
from skinlesions.core.errors import UserError
from skinlesions.data import balancing, predictions
from skinlesions.evaluation import comparison, external, study
from tests.helpers.external_sets import made_up
from tests.helpers.studies import SETTINGS as CHOSEN
from tests.helpers.studies import study_of
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

SETTINGS = CHOSEN.model_copy(update={"resamples": 50, "test_resamples": 80})
TABLES = {
    *("comparison", "differences", "classes", "confusion", "folds", "transfer", "claims", "temperatures"),
    *("ensembles", "ensemble_weights", "ensemble_spreads", "calibration", "class_calibration", "reliability"),
    *("discrimination", "operating_points", "curves", "groups", "group_scores", "group_differences", "nevi"),
    *("coverage_curves", "coverage_areas", "coverage_classes"),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A published report of two models, made the way the pipeline makes it: from the uncompressed predictions."""
    tmp_path = tmp_path_factory.mktemp("published")
    index = synthetic_index()
    models = {}
    for name, skill in (("resnet50", 1.6), ("vgg16", 0.9)):
        path = tmp_path / "train" / name / "predictions.csv"
        predictions.write(path, synthetic_predictions(index, skill, seed=len(name)))
        models[name] = predictions.read(path)
        published = tmp_path / "reports" / "predictions" / f"{name}.csv.gz"
        published.parent.mkdir(parents=True, exist_ok=True)
        published.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    made = study_of(models)
    folder = tmp_path / "reports" / "predictions"
    files.write_json(folder / "models.json", made.descriptions)
    balancing.write(folder / "plan.json", made.plan)
    files.write_csv(folder / "metadata.csv", made.metadata)
    tables = study.tables(made, SETTINGS)
    for name, table in tables.items():
        files.write_csv(tmp_path / "reports" / "tables" / "compare" / f"{name}.csv", table)
    files.write_json(tmp_path / "reports" / "provenance.json", {"parameters": {"compare": SETTINGS.model_dump()}})
    files.write_json(tmp_path / "reports" / "metrics.json", {"compare": comparison.metrics(tables), "train": {}})
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
    assert {name.rsplit("/", 1)[1] for name in checked} == {f"{name}.csv" for name in TABLES} | {"metrics.json"}


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
    assert "claims.csv, row 1, column differs" in found[0]
    assert "classes.csv, row 1, column images" in found[1]


def test_a_tampered_metric_is_named(reports):
    content = files.read_json(reports / "metrics.json")
    metrics = content["compare"]
    metrics["vgg16"]["accuracy"] += 0.01
    metrics["resnet50"]["bonus"] = 1.0
    del metrics["ensemble"]["nll"]
    files.write_json(reports / "metrics.json", content)
    found = faults(reports)
    assert len(found) == 3
    assert "metrics.json, ensemble.nll: published 'nothing'" in found[0]
    assert "metrics.json, resnet50.bonus: published 1.0, computed 'nothing'" in found[1]
    assert "metrics.json, vgg16.accuracy" in found[2]


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
    assert any("confusion.csv" in fault for fault in found)
    assert any("metrics.json, vgg16.accuracy" in fault for fault in found)


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
    (reports / "predictions" / "vgg16.csv.gz").unlink()
    assert any("comparison.csv: has 5 rows; computed: 2" in fault for fault in faults(reports))


def test_without_predictions_it_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="make report"):
        list(verify.differences(tmp_path))


def test_the_command_prints_a_line_per_file_and_fails_on_a_difference(reports, monkeypatch, capsys):
    monkeypatch.setattr(paths, "REPORTS", reports)
    assert verify.agree()
    output = capsys.readouterr().out
    assert output.count("ok   ") == len(TABLES) + 1
    assert f"all {len(TABLES) + 1} files follow" in output

    path = reports / "tables" / "compare" / "confusion.csv"
    path.write_text(path.read_text().replace("ensemble", "Ensemble"))
    assert not verify.agree()
    output = capsys.readouterr().out
    assert "FAIL" in output
    assert "49 difference(s)" in output
    assert output.count("confusion.csv, row") == verify.SHOWN


def test_it_needs_no_heavy_package():
    code = (
        "import sys, skinlesions.commands.verify; "
        "print([name for name in ('tensorflow', 'keras', 'dvc', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
