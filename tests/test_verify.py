import gzip
import subprocess
import sys

import pytest

from skinlesions import comparison, files, params, paths, predictions, verify
from skinlesions.dataset.schema import LOGIT_COLUMNS
from skinlesions.errors import UserError
from tests.synthetic import synthetic_index, synthetic_predictions

SETTINGS = params.Compare(confidence=0.95, resamples=50, test_resamples=80, seed=4, ensemble="all")
DESCRIPTIONS = {name: {"training": "fine-tuned", "initialisation": "ImageNet"} for name in ("resnet50", "vgg16")}


@pytest.fixture
def reports(tmp_path):
    """A published report of two models, made the way the pipeline makes it: from the uncompressed predictions."""
    index = synthetic_index()
    models = {}
    for name, skill in (("resnet50", 1.6), ("vgg16", 0.9)):
        path = tmp_path / "train" / name / "predictions.csv"
        predictions.write(path, synthetic_predictions(index, skill, seed=len(name)))
        models[name] = predictions.read(path)
        published = tmp_path / "reports" / "predictions" / f"{name}.csv.gz"
        published.parent.mkdir(parents=True, exist_ok=True)
        published.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    files.write_json(tmp_path / "reports" / "predictions" / "models.json", DESCRIPTIONS)
    tables = comparison.tables(models, descriptions=DESCRIPTIONS, **SETTINGS.model_dump())
    for name, table in tables.items():
        files.write_csv(tmp_path / "reports" / "tables" / "compare" / f"{name}.csv", table)
    files.write_json(tmp_path / "reports" / "metrics.json", {"compare": comparison.metrics(tables), "train": {}})
    return tmp_path / "reports"


def faults(reports):
    return [fault for _, found in verify.differences(reports, SETTINGS) for fault in found]


def replace_in(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_an_honest_report_passes(reports):
    checked = dict(verify.differences(reports, SETTINGS))
    assert not any(checked.values())
    assert {name.rsplit("/", 1)[1] for name in checked} == {
        "calibration.csv",
        "claims.csv",
        "comparison.csv",
        "confusion.csv",
        "differences.csv",
        "folds.csv",
        "metrics.json",
        "recalls.csv",
        "temperatures.csv",
    }


def test_a_model_that_claims_another_training_is_found_out(reports):
    replace_in(reports / "predictions" / "models.json", "fine-tuned", "from scratch")
    (fault,) = [fault for fault in faults(reports) if "comparison.csv" in fault]
    assert "column training: published 'fine-tuned', computed 'from scratch'" in fault


def test_descriptions_that_are_missing_are_named(reports):
    (reports / "predictions" / "models.json").unlink()
    with pytest.raises(UserError, match=r"predictions/models\.json cannot be read"):
        faults(reports)


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
    line = (compare / "recalls.csv").read_text().splitlines()[1]
    cells = line.split(",")
    replace_in(compare / "recalls.csv", line, ",".join([*cells[:2], cells[2] + ".00001", *cells[3:]]))
    found = faults(reports)
    assert len(found) == 2
    assert "claims.csv, row 1, column differs" in found[0]
    assert "recalls.csv, row 1, column images" in found[1]


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
    assert "metrics.json: does not exist" in found[1]
    assert "bonus.csv: no table of this name" in found[2]


def test_a_metrics_file_of_another_shape_is_a_difference(reports):
    for content, message in (("{}", "has no block 'compare'"), ("[1]", "has no block"), ("{", "is not JSON")):
        (reports / "metrics.json").write_text(content)
        (fault,) = faults(reports)
        assert message in fault


def test_missing_rows_columns_and_models_are_differences(reports):
    compare = reports / "tables" / "compare"
    text = (compare / "folds.csv").read_text()
    (compare / "folds.csv").write_text(text.rsplit("\n", 2)[0] + "\n")
    replace_in(compare / "recalls.csv", "lesions", "patients")
    (compare / "temperatures.csv").write_bytes(b"")
    found = faults(reports)
    assert len(found) == 3
    assert "folds.csv: has 14 rows; computed: 15" in found[0]
    assert "recalls.csv: has the columns" in found[1]
    assert "temperatures.csv: is not CSV" in found[2]
    (reports / "predictions" / "vgg16.csv.gz").unlink()
    assert any("comparison.csv: has 4 rows; computed: 2" in fault for fault in faults(reports))


def test_without_predictions_it_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="make report"):
        list(verify.differences(tmp_path, SETTINGS))


def test_the_command_prints_a_line_per_file_and_fails_on_a_difference(reports, monkeypatch, capsys):
    monkeypatch.setattr(paths, "REPORTS", reports)
    monkeypatch.setattr(params, "load", lambda: params.Params.model_construct(compare=SETTINGS))
    verify.main()
    output = capsys.readouterr().out
    assert output.count("ok   ") == 9
    assert "all 9 files follow" in output

    path = reports / "tables" / "compare" / "confusion.csv"
    path.write_text(path.read_text().replace("ensemble", "Ensemble"))
    with pytest.raises(SystemExit) as end:
        verify.main()
    assert end.value.code == 1
    output = capsys.readouterr().out
    assert "FAIL" in output
    assert "49 difference(s)" in output
    assert output.count("confusion.csv, row") == verify.SHOWN


def test_it_needs_no_heavy_package():
    code = (
        "import sys, skinlesions.verify; "
        "print([name for name in ('tensorflow', 'keras', 'dvc', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
