"""What the pages on reporting standards quote and link to, and what happens where it is not there."""

import pandas as pd
import pytest

from skinlesions.core import files
from skinlesions.core.errors import UserError
from skinlesions.report.evidence import Leaders, Place, check_links


def test_a_section_is_found_by_its_heading(copied):
    assert copied.section("index", "The result") == Place("First page", "The result", "index.html#result")
    place = copied.section("01_explore", "A part with code")
    assert (place.label, place.part) == ("Notebook 1", "A part with code")
    page, _, anchor = place.href.partition("#")
    assert f'id="{anchor}"' in (copied.folder / page).read_text()
    assert copied.section("03_train_resnet50") == Place("Notebook 3 (resnet50)", "", "notebooks/03_train_resnet50.html")


def test_what_is_not_in_the_report_is_named(copied):
    with pytest.raises(UserError, match="no page 09_magic"):
        copied.section("09_magic", "Anything")
    with pytest.raises(UserError, match=r"04_compare\.html has no section “Clinical use”.*“The scores”"):
        copied.section("04_compare", "Clinical use")
    with pytest.raises(UserError, match=r"no file predictions/none\.json"):
        copied.published("predictions/none.json")
    with pytest.raises(UserError, match=r"no table compare/none\.csv.*dvc repro compare"):
        copied.table("compare/none")
    with pytest.raises(UserError, match=r"compare/folds\.csv has no column 'luck'.*--force compare"):
        copied.table("compare/folds", "model", "luck")


def test_a_table_is_filtered_by_what_is_wanted(copied):
    whole = pd.read_csv(copied.folder / "tables" / "compare" / "folds.csv")
    own = copied.table("compare/folds", "balanced_accuracy", model="resnet50")
    assert 0 < len(own) < len(whole)
    assert set(own["model"]) == {"resnet50"}


def test_files_of_the_repository_are_named_not_linked(copied):
    assert copied.file("params.yaml", "split") == Place("params.yaml", "split", None)
    assert copied.file("README.md", "Limits").href is None
    for name, part in (("NOTHING.md", ""), ("README.md", "Limit"), ("params.yaml", "splitting")):
        with pytest.raises(UserError, match=r"the pages on reporting standards name"):
            copied.file(name, part)


def test_the_best_single_model_leads_and_the_ensemble_follows(copied):
    leaders = Leaders.of(copied)
    assert (leaders.names, leaders.last, leaders.has_ensemble) == (["resnet50", "ensemble"], "ensemble", True)
    assert [leaders.title(name) for name in leaders.names] == ["resnet50", "the ensemble"]
    alone = Leaders(leaders.comparison[leaders.comparison["model"] != "ensemble"], ["resnet50"])
    assert (alone.last, alone.has_ensemble) == ("resnet50", False)


@pytest.mark.parametrize(
    ("link", "fault"),
    [("nowhere.html", "no such file"), ("index.html#nowhere", "no such anchor"), ("#nowhere", "no such anchor")],
)
def test_a_link_that_leads_nowhere_is_refused(copied, link, fault):
    page = copied.folder / "claim.html"
    check_links(copied.folder, ["claim.html", "model_card.html"])
    files.write_text(page, page.read_text().replace("</main>", f'<a href="{link}">there</a></main>'))
    with pytest.raises(UserError, match=f"claim.html links to {link}.*{fault}"):
        check_links(copied.folder, ["claim.html"])
