"""The model card: its sections, that its numbers are those of the run, and what it says where something is lacking."""

import dataclasses
import re

import pandas as pd
import pytest

from skinlesions.core.config import validate
from skinlesions.core.errors import UserError
from skinlesions.core.formatting import plain
from skinlesions.core.names import CALIBRATION_NAMES
from skinlesions.core.presets import merged
from skinlesions.report import model_card, site
from tests.unit.report import standin
from tests.unit.report.page import Page

SECTIONS = [
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
]


@pytest.fixture(scope="module")
def card(real):
    return model_card.card(standin.evidence(real[1]), "features of a network")


def compared(reports, name):
    return pd.read_csv(reports / "tables" / "compare" / f"{name}.csv")


def cells(table):
    """The rows of a table of the card by their first cell, as a reader sees them."""
    return {row[0]: [plain(cell) for cell in row[1:]] for row in table.rows}


def of(row, name):
    """An estimate with its interval, where one can be seen, written by a second hand."""
    low, high = (f"{row[f'{name}_{end}']:.3f}" for end in ("low", "high"))
    return f"{row[name]:.3f}" + (f" ({low}–{high})" if low != high else "")


def test_the_sections_are_those_of_the_paper(real):
    text = (real[1] / "model_card.html").read_text()
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", text) == SECTIONS


def test_it_is_the_card_of_the_best_single_model(real, card):
    assert card.name == "resnet50"
    assert card.description["architecture"] == "resnet50"
    assert card.members == sorted(standin.MODELS)
    assert "Model card: resnet50" in Page(real[1] / "model_card.html").text


def test_scores_stand_beside_those_of_the_ensemble(real, card):
    scores = compared(real[1], "comparison").set_index("model")
    assert card.scores.header == ["Metric", "resnet50", "ensemble"]
    expected = [of(scores.loc[name], "balanced_accuracy") for name in ("resnet50", "ensemble")]
    assert cells(card.scores)["balanced accuracy"] == expected
    assert cells(card.scores)["Brier score"] == [
        f"{scores.loc[name, 'brier']:.3f}" for name in ("resnet50", "ensemble")
    ]


def test_every_class_has_its_scores(real, card):
    classes = compared(real[1], "classes").set_index(["model", "dx"])
    rows = cells(card.classes)
    assert list(rows) == ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    melanoma = classes.loc[("resnet50", "mel")]
    expected = [of(melanoma, metric) for metric in ("recall", "specificity", "precision", "auc")]
    assert rows["mel"] == [f"{melanoma['images']:.0f}", *expected, of(classes.loc[("ensemble", "mel")], "recall")]


def test_calibration_and_decisions_are_given_for_both(real, card):
    calibration = compared(real[1], "calibration").set_index(["model", "way"])
    rows = cells(card.calibration)
    assert len(rows) == 2 * calibration.index.get_level_values("way").nunique()
    assert [name for name in rows if name.endswith("*")] == [
        "resnet50, vector scaling*",
        "ensemble, vector scaling*",
    ]
    assert rows["resnet50, vector scaling*"][0] == of(calibration.loc[("resnet50", "vector")], "nll")
    points = compared(real[1], "operating_points").query("model in ['resnet50', 'ensemble']")
    assert len(card.points.rows) == len(points) == 16
    first = points.query("model == 'resnet50' and task == 'melanoma'").iloc[0]
    sensitivity, specificity = (of(first, rate) for rate in ("sensitivity", "specificity"))
    assert [plain(cell) for cell in card.points.rows[0]][-2:] == [sensitivity, specificity]
    assert len(card.areas.rows) == 4


def test_thresholds_are_not_taken_for_those_of_new_images(copied):
    notes = {}
    for way in ("vector", "temperature"):
        values = copied.parameters.model_dump()
        chosen = validate(merged(values, {"compare": {"calibrated_by": way}}))
        notes[way] = model_card.card(dataclasses.replace(copied, parameters=chosen), "").points.caption
    vector, temperature = CALIBRATION_NAMES["vector"], CALIBRATION_NAMES["temperature"]
    assert temperature in notes["temperature"] and vector in notes["temperature"], "that of new images is another one"
    assert temperature not in notes["vector"] and notes["vector"].count(vector) == 1


def test_groups_with_few_lesions_are_marked(real, card):
    groups = compared(real[1], "groups")
    scores = compared(real[1], "group_scores").set_index(["attribute", "group", "metric"])
    rows = cells(card.groups)
    assert len(rows) == len(groups)
    for group in ("female", "male", "unknown"):
        row = scores.loc[("sex", group, "specificity")].rename({"low": "value_low", "high": "value_high"})
        assert rows[f"sex: {group}"][-1] == of(row, "value") + ("*" if row["small"] == "yes" else "")
    assert "ensemble" in card.groups.caption
    assert any(cell.endswith("*") for row in card.groups.rows for cell in row)


def test_nevi_are_told_apart_by_their_evidence(real, card):
    nevi = compared(real[1], "nevi").set_index("dx_type")
    assert cells(card.nevi)["histopathology"][1:] == [of(nevi.loc["histo"], name) for name in ("recall", "specificity")]


def test_the_external_set_has_a_table_if_there_is_one(copied, card):
    assert cells(card.external)["balanced accuracy, external"] == ["0.700 (0.650–0.750)"] * 2
    assert cells(card.external)["macro AUC, external"] == ["0.500 (0.400–0.600)"] * 2
    without = dataclasses.replace(copied, record={**copied.record, "external": None})
    assert model_card.card(without, "").external is None


def test_without_an_ensemble_the_model_stands_alone(copied):
    standin.without_ensemble(copied.folder)
    alone = model_card.card(copied, "")
    assert (alone.members, alone.scores.header) == ([], ["Metric", "resnet50"])
    assert "Recall of the ensemble" not in alone.classes.header
    assert alone.facts["judged"] == "resnet50"


def test_every_row_is_as_long_as_its_header(card):
    for table in (card.scores, card.classes, card.calibration, card.areas, card.points, card.groups, card.nevi):
        assert {len(row) for row in table.rows} == {len(table.header)}, table.caption


def test_the_page_says_what_the_model_is_not_for(real, sample):
    for reports in (real[1], sample):
        text = " ".join(Page(reports / "model_card.html").text.split())
        for words in ("not a medical device", "tone of the skin", "--models resnet50"):
            assert words in text
    assert "Vienna" in Page(real[1] / "model_card.html").text
    assert "a <file>" in Page(real[1] / "model_card.html").text


def test_a_sample_is_not_taken_for_patients(sample):
    text = Page(sample / "model_card.html").text
    for word in ("Vienna", "Queensland", "Austria", "CC BY-NC 4.0, so", "The images show patients"):
        assert word not in text
    assert "outside.zip" not in text


def test_the_prose_quotes_the_run(real, card):
    melanoma = compared(real[1], "classes").set_index(["model", "dx"]).loc[("resnet50", "mel")]
    assert plain(card.facts["melanomas_missed"]) == f"{100 * (1 - melanoma['recall']):.0f} %"
    sizes = pd.read_csv(real[1] / "tables" / "balance" / "folds.csv").drop(columns="fold").sum(axis=1)
    kept_out = [sizes[k] + sizes[(k + 1) % len(sizes)] for k in range(len(sizes))]
    assert card.facts["training_images"] == (sizes.sum() - max(kept_out), sizes.sum() - min(kept_out))


def test_the_card_of_a_model_on_an_embedding_speaks_of_no_network_for_images(copied, monkeypatch):
    for name in ("against", "scores"):
        path = copied.folder / "tables" / "external" / f"{name}.csv"
        table = pd.read_csv(path)
        table[table["model"] == "absent"].to_csv(path, index=False)
    card = model_card.card(copied, "features computed elsewhere")
    assert card.external is None  # of the leaders none was scored there
    described = card.description | {"initialisation": "embedding", "architecture": None}
    copied.record["weights"]["resnet50"] |= {"width": 1024}
    monkeypatch.setattr(model_card, "card", lambda *_: dataclasses.replace(card, description=described))
    about = {"site_title": "Report", "notice": "", "style": ""}
    site._write_standards(site._environment(), about, copied)
    text = (copied.folder / "model_card.html").read_text()
    assert "1024 features of an image" in text and "features computed elsewhere" in text
    assert "an RGB image" not in text and "predict photos/" not in text and "ab" * 8 in text


def test_a_table_that_is_gone_stops_the_report(copied):
    (copied.folder / "tables" / "compare" / "operating_points.csv").unlink()
    with pytest.raises(UserError, match=r"no table compare/operating_points\.csv"):
        model_card.card(copied, "")
