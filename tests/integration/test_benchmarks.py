import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import coverage, measurement, prepare, trials
from benchmarks.__main__ import NAMES, PAGE, updated
from skinlesions.core import config, files, names, paths
from skinlesions.core.errors import UserError
from skinlesions.data import images
from skinlesions.evaluation import metrics


def test_the_page_has_a_place_for_every_benchmark_and_no_other():
    page = PAGE.read_text(encoding="utf-8")
    # What the trials left is not measured anew: a command of its own writes that table.
    known = {*NAMES, "trials"}
    assert set(re.findall(r"<!-- (\w+): begin -->", page)) == known
    for name in known:
        assert "NEW TABLE" in updated(page, name, "NEW TABLE")


def test_a_new_table_replaces_the_old_one_and_nothing_else():
    page = "A\n<!-- heads: begin -->\nold\n<!-- heads: end -->\nB\n<!-- prepare: begin -->\n<!-- prepare: end -->\n"
    assert updated(page, "heads", "new") == page.replace("old", "new")
    assert updated(updated(page, "heads", "new"), "heads", "new") == page.replace("old", "new")


@pytest.mark.parametrize("page", ["no marks", "<!-- heads: begin -->", "<!-- heads: end --> <!-- heads: begin -->"])
def test_a_page_without_the_marks_is_refused(page: str):
    with pytest.raises(UserError, match="heads: begin"):
        updated(page, "heads", "new")


def test_a_table_is_written_as_markdown():
    table = pd.DataFrame({"way": ["ours"], "rate": ["3"]})
    assert measurement.markdown(table) == "| way | rate |\n| :-- | --: |\n| ours | 3 |"


def test_made_up_images_are_as_many_as_in_ham10000():
    index = measurement.index()
    assert len(index) == 10_015
    assert index.drop_duplicates("lesion_id")["dx"].value_counts().to_dict() == measurement.LESIONS
    assert (index.groupby("lesion_id")["dx"].nunique() == 1).all()
    assert index["image_id"].is_unique


def test_each_action_has_its_turn_in_every_round():
    turns = []
    best = measurement.best_seconds({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, rounds=2)
    assert turns == ["a", "b", "a", "b"]
    assert best.keys() == {"a", "b"}


def test_a_target_is_met_on_its_own_side():
    assert measurement.verdict(0.8, 0.8, at_least=True) == "≥ 0.8: met"
    assert measurement.verdict(0.79, 0.8, at_least=True) == "≥ 0.8: **missed**"
    assert measurement.verdict(61, 60, at_least=False) == "≤ 60: **missed**"


def test_the_bare_loop_does_the_work_of_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(measurement.HAM10000_VARIABLE, raising=False)
    sources, kind = measurement.write_images(tmp_path / "images", 8)
    assert kind.startswith("8 images of the synthetic sample")
    images.prepare(sources, tmp_path / "images.npy", prepare.SIZE, "crop")
    made = np.stack([prepare.bare(source) for source in sources])
    np.testing.assert_array_equal(files.read_array(tmp_path / "images.npy"), made)


def test_the_preset_of_the_memory_benchmark_fits_the_parameters():
    assert config.load(paths.ROOT / "benchmarks" / "pipeline.yaml").backbones.keys() == {"mobilenet_v2", "vgg16"}


def test_simulated_studies_have_their_truth():
    """The mean over many studies is what the population says."""
    known = coverage.truth(0, lesions=3000)
    generator = np.random.default_rng(2)
    studies = [coverage.draw(generator, coverage.sizes()) for _ in range(30)]
    assert len(np.unique(studies[0][2])) == coverage.sizes().sum() == pytest.approx(7470 / 5, abs=4)
    found = [metrics.summary(labels, probabilities, by_class=True) for labels, probabilities, _ in studies]
    for name in ("balanced_accuracy", "accuracy", "macro_auc", "nll", "recall_mel"):
        values = [scores[name] for scores in found]
        assert np.mean(values) == pytest.approx(known[name], abs=4 * np.std(values) / np.sqrt(30) + 0.005), name


def test_the_table_of_coverage_has_every_metric_and_way():
    ((title, table),) = coverage.measure(quick=True).items()
    assert title.startswith("5 studies")
    assert table["metric"].tolist() == [names.METRIC_NAMES[name] for name in coverage.METRICS]
    assert {"lesions, percentile", "lesions, bca", "images, percentile", "images, bca"} < set(table.columns)


def test_the_trials_on_the_page_follow_from_the_files_that_they_left():
    page = PAGE.read_text(encoding="utf-8")
    for table in (trials.trials(), trials.five_folds()):
        assert measurement.markdown(table) in page
