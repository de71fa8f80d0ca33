"""The report held against CLAIM 2024: what each of the 44 items asks, and what this run did about it.

What the items ask and what a run has to say to them is in claim.yaml. Whether one is done follows from that: something
done and nothing missing, something of both, or only what is missing.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import TemplateError
from markupsafe import Markup

from skinlesions.core import prose
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import balancing
from skinlesions.report.evidence import FITS, Evidence, Leaders, Place

DONE, PARTLY, NOT_DONE, NOT_APPLICABLE = "done", "partly", "not done", "not applicable"
STATUSES = (DONE, PARTLY, NOT_DONE, NOT_APPLICABLE)

ITEMS = Path(__file__).with_name("claim.yaml")

# What cannot be asked of images that a program draws.
SYNTHETIC = "The images of this run are drawn by a program: no patient, no camera and no diagnosis stands behind them."

# What the evidence for a diagnosis is called in the data, and by readers.
CONFIRMATIONS = {
    "histo": "histopathology",
    "confocal": "confocal microscopy",
    "follow_up": "an unchanged look under follow-up",
    "consensus": "the agreement of experts",
}


@dataclass(frozen=True)
class Item:
    """One item of the checklist, answered.

    Attributes:
        number: 1 to 44.
        part: the section of the checklist that it is in.
        part_number: the place of that section, from 1.
        ask: what it asks, in a few words.
        status: one of STATUSES.
        did: what the run did, in sentences; of an item that does not apply, the reason.
        lacks: what is missing.
        places: where a reader finds it.
    """

    number: int
    part: str
    part_number: int
    ask: str
    status: str
    did: Markup
    lacks: Markup
    places: tuple[Place, ...]


@cache
def sections() -> list[dict[str, Any]]:
    """The sections of claim.yaml, each with `section` and `items`."""
    return yaml.safe_load(ITEMS.read_text(encoding="utf-8"))


def items(evidence: Evidence) -> list[Item]:
    """Every item of the checklist with what the run has to say to it.

    Raises:
        UserError: a table lacks what is quoted, or a section that is linked to is not there.
    """
    leaders = Leaders.of(evidence)
    facts = _facts(evidence, leaders)
    found: list[Item] = []
    for position, section in enumerate(sections(), start=1):
        for entry in section["items"]:
            number = len(found) + 1
            try:
                answer = _answer(entry, evidence, facts)
            except (TemplateError, LookupError, TypeError, ValueError) as error:
                raise UserError(f"claim.yaml, item {number} ({entry['asks']}): {error}; see its tables") from error
            found.append(Item(number, section["section"], position, entry["asks"], *answer))
    return found


def status(did: str, lacks: str) -> str:
    """Which of STATUSES an item that applies has, from what was done and what is missing."""
    if not lacks:
        return DONE
    return PARTLY if did else NOT_DONE


def counts(answered: list[Item]) -> dict[str, int]:
    """How many items have each of STATUSES."""
    found = Counter(item.status for item in answered)
    return {status: found[status] for status in STATUSES}


def _facts(evidence: Evidence, leaders: Leaders) -> dict[str, Any]:
    """What the templates of claim.yaml quote."""
    strategy = evidence.parameters.balance.strategy
    return {
        "table": evidence.table,
        "scores": leaders.comparison,
        "leaders": leaders.names,
        "single": leaders.single,
        "last": leaders.last,
        "called": leaders.title,
        "fold_sizes": evidence.table("balance/folds", "fold", *CLASSES)[list(CLASSES)].sum(axis=1).tolist(),
        "has_ensemble": leaders.has_ensemble,
        "record": evidence.record,
        "parameters": evidence.parameters,
        "sample": evidence.is_sample,
        "fits": FITS,
        "confirmations": CONFIRMATIONS,
        "balancing": balancing.DESCRIPTIONS.get(strategy, "the best on the validation folds"),
    }


def _answer(
    entry: dict[str, Any], evidence: Evidence, facts: dict[str, Any]
) -> tuple[str, Markup, Markup, tuple[Place, ...]]:
    """The status of an item, what was done and is missing, and where a reader finds it."""
    if evidence.is_sample and entry.get("patients"):
        return NOT_APPLICABLE, Markup(SYNTHETIC), Markup(), ()
    if "unless" in entry and prose.html(entry["unless"], **facts) == "True":
        return NOT_APPLICABLE, Markup(entry["otherwise"]), Markup(), ()
    did, lacks = (prose.html(entry.get(key, ""), **facts) for key in ("did", "lacks"))
    places = tuple(
        _place(evidence, {key: str(prose.html(text, **facts)) for key, text in place.items()})
        for place in entry.get("where", [])
        if place.get("when") != "external" or evidence.record["external"]
    )
    return status(did, lacks), did, lacks, places


def _place(evidence: Evidence, place: dict[str, str]) -> Place:
    """Where an entry of `where` leads: a page of the report, a file of it, or one of the repository."""
    if "page" in place:
        return evidence.section(place["page"], place.get("section", ""))
    if "published" in place:
        return evidence.published(place["published"])
    return evidence.file(place["file"], place.get("section", ""))
