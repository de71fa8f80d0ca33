"""The report of small but really executed results: what it holds, that it is complete, safe, offline and stable."""

import gzip
import re
import shutil
from itertools import pairwise
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from skinlesions.commands import check_report, verify
from skinlesions.core import files, paths
from skinlesions.core.errors import UserError
from skinlesions.data import predictions
from skinlesions.report import contents as contents_list
from skinlesions.report import results, site
from skinlesions.report.publication import publish
from tests.helpers.project import settings, tiny
from tests.unit.report import standin
from tests.unit.report.page import Page

PAGES = [
    "01_explore",
    "02_balance",
    "03_train_baseline_cnn",
    "03_train_resnet50",
    "04_compare",
    "05_explain",
    "06_leakage",
    "07_external",
]


def pages(reports: Path) -> list[Page]:
    return [Page(path) for path in [*sorted(reports.glob("*.html")), *sorted((reports / "notebooks").glob("*.html"))]]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_report_has_everything(real):
    data, reports, _ = real
    published = contents(reports)
    expected = {"index.html", "claim.html", "model_card.html", "metrics.json", "provenance.json", "tables/README.md"}
    expected.add("contents.json")
    expected |= {f"notebooks/{name}.{suffix}" for name in PAGES for suffix in ("ipynb", "html")}
    expected |= {f"predictions/{name}" for name in ("models.json", "plan.json", "metadata.csv")}
    expected |= {*(f"predictions/{name}.csv.gz" for name in standin.MODELS)}
    expected |= {f"predictions/external/{name}.csv" for name in (*standin.MODELS, "ground_truth")}
    for folder in [
        "explore",
        "balance",
        "compare",
        "explain",
        "leakage",
        "external",
        *(f"train/{name}" for name in standin.MODELS),
    ]:
        for kind in ("figures", "tables"):
            expected |= {f"{kind}/{folder}/{path.name}" for path in (data / folder / kind).iterdir()}
    assert set(published) == expected
    for name in PAGES[:2]:
        source = data / name.partition("_")[2] / f"{name}.ipynb"
        assert published[f"notebooks/{name}.ipynb"] == source.read_bytes()
    for name in standin.MODELS:
        packed = published[f"predictions/{name}.csv.gz"]
        assert gzip.decompress(packed) == (data / "train" / name / "predictions.csv").read_bytes()
        assert packed[4:8] == bytes(4), "a time stamp"
    metrics = files.read_json(reports / "metrics.json")
    assert metrics == {"compare": {"a": 0.5}, "train": {name: {"a": 0.5} for name in standin.MODELS}}


def test_the_tables_of_the_comparison_follow_from_what_is_published(sample):
    tables, _ = verify.expected(sample)
    compared = [name for name in tables if name.startswith("compare/")]
    assert {path.stem for path in (sample / "tables" / "compare").glob("*.csv")} == {
        name.removeprefix("compare/") for name in compared
    }
    for name in compared:
        assert verify.table_faults(sample / "tables" / f"{name}.csv", tables[name]) == []


def test_the_external_set_is_named_where_there_is_one(real, sample):
    assert "outside.zip: 1 images" in Page(real[1] / "index.html").text
    assert files.read_json(real[1] / "provenance.json")["external"]["name"] == "outside.zip"
    assert "External set" not in Page(sample / "index.html").text
    assert files.read_json(sample / "provenance.json")["external"] is None
    assert not (sample / "predictions" / "external").exists()


def test_the_same_results_give_the_same_bytes(real, tmp_path):
    data, reports, parameters = real
    shutil.copytree(data, tmp_path / "elsewhere")
    publish(tmp_path / "elsewhere", tmp_path / "again", parameters)
    assert contents(tmp_path / "again") == contents(reports)


def test_what_was_published_before_is_gone(real, tmp_path):
    data, _, parameters = real
    target = tmp_path / "reports"
    (target / "tables").mkdir(parents=True)
    (target / "tables" / "old.csv").write_text("")
    publish(data, target, parameters)
    assert not (target / "tables" / "old.csv").exists()


def test_of_a_preset_that_was_published_first_nothing_is_left(real, sample, tmp_path):
    """Not a page, table, figure or prediction; and nothing beside reports/ either."""
    data, reports, parameters = real
    target = tmp_path / "reports"
    shutil.copytree(sample, target)
    files.write_text(target / "notebooks" / "03_train_of_the_preset.html", "Synthetic sample")
    contents_list.write(target)
    publish(data, target, parameters)
    assert contents(target) == contents(reports)
    assert {path.name for path in tmp_path.iterdir()} == {"reports"}


def test_an_incomplete_stage_is_named_and_nothing_changes(real, tmp_path):
    data, reports, parameters = real
    before = contents(reports)
    for missing in ("explore/01_explore.ipynb", "train/resnet50/predictions.csv", "compare/tables/classes.csv"):
        shutil.copytree(data, tmp_path / "data", dirs_exist_ok=True)
        (tmp_path / "data" / missing).unlink()
        shutil.copytree(reports, tmp_path / "reports", dirs_exist_ok=True)
        with pytest.raises(UserError, match=Path(missing).name):
            publish(tmp_path / "data", tmp_path / "reports", parameters)
        assert contents(tmp_path / "reports") == before
        assert {path.name for path in tmp_path.iterdir()} == {"data", "reports"}


# --- the pages --------------------------------------------------------------------------------------------------


def test_what_somebody_has_put_or_edited_in_the_report_is_kept(real, tmp_path, capsys):
    data, reports, parameters = real
    target, kept = tmp_path / "reports", tmp_path / "build" / "kept"
    for text in ("first", "second"):
        shutil.copytree(reports, target, dirs_exist_ok=True)
        files.write_text(target / "figures" / "mine.txt", text)
        files.write_text(target / "metrics.json", text)
        (target / "link").symlink_to(tmp_path)
        publish(data, target, parameters)
        assert contents(target) == contents(reports)
        output = capsys.readouterr().out
        assert all(name in output for name in ("mine.txt", "metrics.json", "link"))
    assert {path.relative_to(kept).as_posix(): path.read_text() for path in kept.rglob("*") if path.is_file()} == {
        "figures/mine.txt": "first",
        "figures/mine-2.txt": "second",
        "metrics.json": "first",
        "metrics-2.json": "second",
    }
    assert (kept / "link").is_symlink() and (kept / "link-2").is_symlink()


def test_every_link_leads_somewhere(real):
    code = real[1].parent / "skinlesions"  # as in a clone, beside the report
    code.symlink_to(paths.ROOT / "skinlesions")
    assert list(check_report.broken_links(real[1])) == []
    code.unlink()


def test_index_reaches_every_file(real):
    _, reports, _ = real
    linked = {
        attributes[name]
        for _, attributes in Page(reports / "index.html").tags
        for name in ("href", "src")
        if name in attributes
    }
    assert set(contents(reports)) - {"index.html", "contents.json"} <= linked


def test_pages_need_no_network_and_run_no_script(real, sample):
    for page in [*pages(real[1]), *pages(sample)]:
        text = page.path.read_text(encoding="utf-8")
        assert "<script" not in text
        assert not re.search(r"@import|url\(|<iframe|<object", text)
        for tag, attributes in page.tags:
            assert not any(name.startswith("on") for name in attributes)
            if tag != "a":
                loaded = [attributes[name] for name in ("src", "href", "srcset", "data") if attributes.get(name)]
                assert not any(re.match(r"(https?:)?//", link) for link in loaded), f"{page.path.name}: {loaded}"


def test_what_cells_put_out_is_escaped(real):
    page = Page(real[1] / "notebooks" / "02_balance.html")
    assert "alert(2)" in page.text, "shown as text"
    assert "<b>nv</b>" in page.text, "a table's cell shown as text"
    assert "2 · How to weigh <seven> classes" in page.text
    assert "Prose with emphasis" in page.text
    assert [tag for tag, _ in page.tags].count("table") == 2


def test_pages_can_be_read_with_a_screen_reader(real, sample):
    for page in [*pages(real[1]), *pages(sample)]:
        assert page.tags[0] == ("html", {"lang": "en"})
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels)), page.path.name
        for tag, attributes in page.tags:
            if tag == "img":
                assert len(attributes["alt"]) > 8, page.path.name
        assert {"main", "footer", "title"} <= {tag for tag, _ in page.tags}


def test_every_page_says_what_it_is_not_and_whose_the_images_are(real):
    for page in pages(real[1]):
        assert "Not a medical device" in page.text
        assert "CC BY-NC 4.0" in page.text
        assert "10.1038/sdata.2018.161" in page.text
        assert "Synthetic" not in page.text


def test_a_report_on_the_sample_says_so_everywhere(sample):
    for page in pages(sample):
        before_content = page.text.split("Report" if page.path.name != "index.html" else "classify")[0]
        assert standin.SAMPLE_NOTE in before_content, page.path.name
    for path in (sample / "notebooks").glob("*.ipynb"):
        first = nbformat.read(path, as_version=4).cells[0]
        assert first.cell_type == "markdown"
        assert "Synthetic sample" in first.source
        assert "&lt;real&gt;" in first.source
    assert "synthetic images in the form of" in Page(sample / "index.html").text


def test_pages_follow_each_other_in_reading_order(real):
    path = real[1] / "notebooks" / f"{PAGES[0]}.html"
    visited = [path.stem]
    while following := [a["href"] for tag, a in Page(path).tags if tag == "a" and a.get("rel") == "next"]:
        back = path.name
        path = path.parent / following[0]
        assert back in [a["href"] for tag, a in Page(path).tags if tag == "a" and a.get("rel") == "prev"]
        visited.append(path.stem)
    assert visited == PAGES


def test_the_first_page_shows_the_comparison(real):
    data, reports, _ = real
    comparison = pd.read_csv(data / "compare" / "tables" / "comparison.csv")
    text = Page(reports / "index.html").text
    for row in comparison.itertuples():
        assert f"{row.balanced_accuracy:.3f}" in text
        assert f"{row.accuracy:.3f}" in text
    assert "95 % interval" in text
    assert results.best(data / "compare" / "tables") == "resnet50"
    counts = predictions.select(predictions.read(data / "train" / "resnet50" / "predictions.csv"), "test")
    assert str((counts["dx"] == "nv").sum()) in text


def test_figures_are_named_after_their_files():
    code = nbformat.v4.new_code_cell('style.save(draw.counts(\n    index, "x"\n), figures, "class_counts")', id="c")
    picture = nbformat.v4.new_output("display_data", data={"image/png": "AAAA", "text/plain": "a figure"})
    code.outputs = [picture]
    body = site.notebook_body(nbformat.v4.new_notebook(cells=[code]))
    assert 'alt="Figure: Class counts"' in body
    assert "a figure" not in body


def test_inputs_are_described_in_words():
    parameters = standin.parameters()
    assert site.describe_input("baseline_cnn", parameters) == "images at 48 × 48 pixels, from scratch"
    frozen = "features of a frozen resnet50 (ImageNet weights, cut after conv4_block6_out), images at 224 × 224 pixels"
    assert site.describe_input("resnet50", parameters) == frozen
    values = tiny()
    values["backbones"]["own"] = {"features": "/home/me/own.npy", "ids": "own.csv"}
    values["models"]["own"] = {"inputs": "features/own.npy"}
    given = settings(**values)
    assert site.describe_input("own", given) == "features computed elsewhere: own.npy"
    tuned = site.describe_input("vgg16", settings())
    assert tuned == (
        "images at 32 × 32 pixels, vgg16 (random weights, cut after block3_pool) fine-tuned from block3_conv1 on"
    )


def test_a_notebook_without_title_is_refused(real, tmp_path):
    data, _, parameters = real
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "explore" / "01_explore.ipynb"
    path.write_text(path.read_text().replace("# 1 · What", "1 · What"))
    with pytest.raises(UserError, match=r"01_explore\.ipynb has no title"):
        publish(tmp_path / "data", tmp_path / "reports", parameters)


def test_the_report_holds_no_path_of_this_machine(real):
    for name, content in contents(real[1]).items():
        assert str(paths.ROOT).encode() not in content, name
