"""The README's results: made from reports/, and in step with it."""

import pandas as pd
import pytest

from skinlesions import __main__ as main
from skinlesions.commands import readme
from skinlesions.core import files, paths
from skinlesions.core.errors import UserError
from skinlesions.evaluation import study
from skinlesions.report import results
from tests.helpers.studies import SETTINGS, described, study_of
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

MARKERS = f"# Title\n\n{readme.BEGIN}\n{readme.END}\n\nThe end.\n"


@pytest.fixture
def reports(tmp_path):
    index = synthetic_index()
    models = {"resnet50": synthetic_predictions(index, 2, 0), "vgg16": synthetic_predictions(index, 1, 1)}
    descriptions = {
        "resnet50": described("resnet50", initialisation="random"),
        "vgg16": described("vgg16", training="fine-tuned"),
    }
    chosen = SETTINGS.model_copy(update={"confidence": 0.9, "resamples": 50, "test_resamples": 50})
    tables = study.tables(study_of(models, descriptions=descriptions), chosen)
    for name, table in tables.items():
        files.write_csv(tmp_path / "reports" / "tables" / "compare" / f"{name}.csv", table)
    record = {"parameters": {"compare": {"confidence": 0.9}}}
    files.write_json(tmp_path / "reports" / "provenance.json", record)
    return tmp_path / "reports"


def test_the_block_is_a_table_of_the_published_numbers(reports):
    lines = readme.block(reports).splitlines()
    assert (lines[0], lines[-1]) == (readme.BEGIN, readme.END)
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert table[0][:3] == ["Model", "Training", "Balanced accuracy (90 % interval)"]
    assert len({len(row) for row in table}) == 1
    published = pd.read_csv(reports / "tables" / "compare" / "comparison.csv")
    assert [row[0] for row in table[2:]] == [*published["model"][:-1], "always “nv”"]
    rows = {row[0]: row for row in table}
    own = published.set_index("model").loc["resnet50"]
    scored = f"{own.balanced_accuracy:.3f} ({own.balanced_accuracy_low:.3f}–{own.balanced_accuracy_high:.3f})"
    assert rows["resnet50"][1:3] == ["frozen, random weights", scored]
    assert rows["vgg16"][1] == "fine-tuned, ImageNet"
    assert table[-1][2] == "0.143"
    assert f"reports/figures/compare/{results.FIGURE}.png" in lines[1]


def test_only_the_block_changes_and_a_second_time_nothing(reports):
    new = readme.updated(MARKERS, readme.block(reports))
    assert new.startswith("# Title\n\n<!--")
    assert new.endswith("-->\n\nThe end.\n")
    assert readme.updated(new, readme.block(reports)) == new


@pytest.mark.parametrize("text", ["", readme.BEGIN, MARKERS * 2, f"{readme.END}\n{readme.BEGIN}"])
def test_a_readme_without_its_markers_is_refused(text):
    with pytest.raises(UserError, match=r"README\.md must have"):
        readme.updated(text, "")


def test_check_fails_and_changes_nothing_when_out_of_step(reports, tmp_path, monkeypatch):
    target = tmp_path / "README.md"
    target.write_text(MARKERS)
    monkeypatch.setattr(readme, "README", target)
    monkeypatch.setattr(paths, "REPORTS", reports)
    with pytest.raises(UserError, match="not in step"):
        main.run(["readme", "--check"])
    assert target.read_text() == MARKERS
    main.run(["readme"])
    assert "resnet50" in target.read_text()
    main.run(["readme", "--check"])


@pytest.mark.parametrize("missing", ["provenance.json", "tables/compare/comparison.csv", "tables/compare/classes.csv"])
def test_an_incomplete_report_is_named(reports, missing):
    (reports / missing).unlink()
    with pytest.raises(UserError, match=missing):
        readme.block(reports)


def test_a_table_without_its_columns_is_named(reports):
    path = reports / "tables" / "compare" / "comparison.csv"
    pd.read_csv(path).drop(columns="macro_auc").to_csv(path, index=False)
    with pytest.raises(UserError, match=r"comparison\.csv has no column 'macro_auc'"):
        readme.block(reports)
