"""The pipeline as a whole: from nothing to the report, again, elsewhere, changed, broken, killed."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import FINISHED, Project, SecondRun, ran


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def recorded(project: Project) -> dict[tuple[str, str], str]:
    """The hash of every dependency and output by its stage and path, from dvc.lock."""
    stages = yaml.safe_load((project.root / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {
        (name, item["path"]): item["md5"] for name, stage in stages.items() for item in (*stage["deps"], *stage["outs"])
    }


def test_a_run_from_nothing_publishes_every_part_of_the_report(finished: Project):
    published = contents(finished.root / "reports")
    notebooks = ("01_explore", "02_balance", "03_train_baseline_cnn", "03_train_vgg16", "04_compare")
    expected = {
        *("index.html", "metrics.json", "provenance.json"),
        *(f"notebooks/{name}.{kind}" for name in notebooks for kind in ("ipynb", "html")),
        *(f"predictions/{model}.csv.gz" for model in ("baseline_cnn", "vgg16")),
        *("figures/compare/comparison.svg", "figures/compare/comparison.png", "tables/compare/comparison.csv"),
    }
    assert expected <= published.keys()
    assert all(published.values()), "an empty file is published"
    for name in (name for name in published if name.endswith(".html")):
        assert "Synthetic sample" in published[name].decode(), (
            f"{name} does not say that it is about a synthetic sample"
        )


def test_no_published_file_names_the_folder_in_which_it_was_made(finished: Project, second: SecondRun):
    for project in (finished, second.project):
        for name, content in contents(project.root / "reports").items():
            assert str(project.root).encode() not in content, f"{name} has the path of the project in it"


def test_two_runs_in_different_folders_are_the_same_byte_for_byte(finished: Project, second: SecondRun):
    for folder in ("reports", "models/published"):
        first, other = contents(finished.root / folder), contents(second.project.root / folder)
        assert first.keys() == other.keys() and first
        assert [name for name in first if first[name] != other[name]] == []


def test_two_runs_in_different_folders_have_the_same_dependencies_and_outputs(finished: Project, second: SecondRun):
    assert recorded(finished) == recorded(second.project)


def test_a_stage_that_fails_says_why_and_runs_again_once_mended(second: SecondRun):
    assert "too few for 20 folds" in second.failed
    assert "exited with 1" in second.failed
    assert "Traceback" not in second.failed
    assert sorted(ran(second.failed)) == ["data", "features@vgg16", "prepare", "split", "weights@vgg16"]
    assert ran(second.failed)[-1] == "split"
    assert ran(second.mended) == ["split"]


def test_a_killed_training_goes_on_with_the_fold_it_was_at(second: SecondRun):
    assert "train@vgg16" in ran(second.killed)
    assert "compare" not in ran(second.killed)
    assert "vgg16, fold 1 of 3: finished by an earlier run" in second.resumed
    assert "vgg16, fold 1 of 3, epoch" not in second.resumed
    assert "vgg16, fold 3 of 3, epoch 1:" in second.resumed
    assert "compare" in ran(second.resumed) and ran(second.resumed)[-1] == "report"


def test_a_second_repro_has_nothing_to_do(finished: Project):
    assert FINISHED in finished.dvc("repro")
    assert finished.succeeds("git", "status", "--porcelain") == ""


def test_a_clone_without_data_is_up_to_date(finished: Project, tmp_path: Path):
    clone = Project(tmp_path / "clone")
    finished.succeeds("git", "clone", "--quiet", str(finished.root), str(clone.root))
    output = clone.dvc("repro", "--allow-missing", "--dry")
    assert ran(output) == []
    assert FINISHED in output


def test_an_experiment_with_the_comparison_reruns_only_what_follows(working_copy: Project):
    before = contents(working_copy.root / "reports")
    output = working_copy.dvc("exp", "run", "--set-param", "compare.test_resamples=30")
    assert ran(output) == ["compare", "external", "report"]
    differences = working_copy.dvc("params", "diff")
    assert "compare.test_resamples" in differences and "40" in differences and "30" in differences
    after = contents(working_copy.root / "reports")
    assert before["tables/compare/differences.csv"] != after["tables/compare/differences.csv"]
    assert before["predictions/vgg16.csv.gz"] == after["predictions/vgg16.csv.gz"]
    assert before["notebooks/03_train_vgg16.ipynb"] == after["notebooks/03_train_vgg16.ipynb"]


@pytest.mark.parametrize(
    ("old", "new", "stages"),
    [
        ("sample_seed: 2018", "sample_seed: 2019", ["data", "external_data"]),
        ("fit: crop", "fit: pad", ["prepare"]),
        ("mosaic_columns: 2", "mosaic_columns: 3", ["explore"]),
        ("cut_at: block3_pool", "cut_at: block2_pool", ["weights@vgg16", "features@vgg16"]),
        ("strategy: balanced_weights", "strategy: none", ["balance"]),
        ("deterministic: true", "deterministic: false", ["train@baseline_cnn", "train@vgg16"]),
        ("epochs: 6", "epochs: 7", ["balance", "train@baseline_cnn", "train@vgg16"]),
        ("from_layer: block3_conv1", "from_layer: block3_conv2", ["train@vgg16", "compare", "external"]),
        ("publish: {model: vgg16}", "publish: {model: baseline_cnn}", ["publish"]),
    ],
)
def test_a_parameter_touches_the_stages_that_read_it(working_copy: Project, old: str, new: str, stages: list[str]):
    working_copy.change(old, new)
    # What a dry run lists: the stages touched, and not those that follow if their results change.
    assert sorted(ran(working_copy.dvc("repro", "--dry"))) == sorted([*stages, "report"])


def test_an_unknown_parameter_stops_the_run_with_its_name(working_copy: Project):
    working_copy.change("mosaic_columns:", "mosaik_columns:")
    output = working_copy.fails(sys.executable, "-m", "dvc", "repro", "explore")
    assert "mosaik_columns" in output


def test_dvc_shows_the_metrics_of_every_model(finished: Project):
    shown = json.loads(finished.dvc("metrics", "show", "--json"))
    scores = shown[""]["data"]["reports/metrics.json"]["data"]["compare"]
    assert scores.keys() == {"baseline_cnn", "vgg16", "ensemble", "stacked"}
    assert all(0 <= model["balanced_accuracy"] <= 1 for model in scores.values())


def test_dvc_plots_show_writes_a_page(finished: Project, tmp_path: Path):
    finished.dvc("plots", "show", "--out", str(tmp_path / "plots"))
    declared = yaml.safe_load((finished.root / "dvc.yaml").read_text()).get("plots")
    assert (tmp_path / "plots" / "index.html").exists() == bool(declared)


def test_the_published_tables_follow_from_the_published_predictions(working_copy: Project):
    """As after `make report`, which renews the README behind DVC."""
    working_copy.succeeds(sys.executable, "-m", "skinlesions", "readme")
    assert "follow from the predictions" in working_copy.succeeds(sys.executable, "-m", "skinlesions", "verify")


def test_a_changed_number_is_found(working_copy: Project):
    table = working_copy.root / "reports" / "tables" / "compare" / "comparison.csv"
    header, first, *rest = table.read_text().splitlines()
    model, training, initialisation, _, *others = first.split(",")
    changed = ",".join([model, training, initialisation, "0.999", *others])
    table.write_text("\n".join([header, changed, *rest]) + "\n")
    output = working_copy.fails(sys.executable, "-m", "skinlesions", "verify")
    assert "comparison.csv, row 1, column balanced_accuracy: published '0.999'" in output
