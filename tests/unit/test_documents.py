"""What the pages for people name exists: files, commands, options, keys of params.yaml, tests and constants."""

import argparse
import re
import shlex
import tomllib
import typing
from collections.abc import Iterator
from functools import cache

import pytest
import yaml

from skinlesions import __main__ as main
from skinlesions.core import paths
from skinlesions.core.blocks import Block
from skinlesions.core.schema import Params

PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/embedding.md"]
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w.-]*(/[\w.-]+)+/?|[\w.-]+/|[\w-]*\.(py|yaml|md|toml|in|txt|cff|lock|ipynb|csv|json)")
# What is made by a run or an installation, or is the reader's own.
YOURS = ("photos/", "predictions.csv", "ground_truth.csv", "scores.json", "split.csv", "audit.json", "metadata.csv")
MADE = ("data/", "build/", ".venv", "taken_out.csv", "out_of_scope.csv", *YOURS)


def page(name: str) -> str:
    """The text of a page as it speaks of the present: without the first column of tables of what was before."""
    text = (paths.ROOT / name).read_text(encoding="utf-8")
    lines, before = [], False
    for line in text.splitlines():
        before = line.lstrip().startswith("|") and (before or line.split("|")[1].strip() == "before")
        lines.append("|" + line.split("|", 2)[2] if before else line)
    return "\n".join(lines)


def spans(text: str) -> list[str]:
    """What stands as code within lines."""
    return SPAN.findall(FENCE.sub("", text))


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command, within lines and in blocks; variables before it and a comment after it left out."""
    for line in [*spans(text), *(line for block in FENCE.findall(text) for line in block.splitlines())]:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        while words and re.match(r"[A-Z_0-9]+=", words[0]):
            words.pop(0)
        if words:
            yield words


@cache
def options(subcommand: str) -> set[str]:
    """The options of a subcommand."""
    parser = argparse.ArgumentParser()
    main.command_module(subcommand).configure(parser)
    return {option for action in parser._actions for option in action.option_strings}


@cache
def sources() -> str:
    """All code and settings of the project."""
    files = [path for folder in ("skinlesions", "tests") for path in sorted((paths.ROOT / folder).rglob("*.py"))]
    files += [paths.ROOT / name for name in ("Makefile", "pyproject.toml")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files if path.name != "test_documents.py")


def blocks(annotation: object) -> list[type[Block]]:
    """The blocks of settings that a key of this type may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return [annotation]
    return [block for part in typing.get_args(annotation) for block in blocks(part)]


def is_key(dotted: str) -> bool:
    """Whether params.yaml may have this key; entries of `backbones` and `models` have any name."""
    known: list[type[Block]] = [Params]
    named = False
    for part in dotted.split("."):
        if named:
            named = False
            continue
        fields = [block.model_fields[part] for block in known if part in block.model_fields]
        if not fields:
            return False
        annotation = fields[0].annotation
        known, named = blocks(annotation), typing.get_origin(annotation) is dict
    return True


@pytest.mark.parametrize("name", PAGES)
def test_every_file_exists(name):
    text = page(name)
    linked = {link.partition("#")[0] for link in LINK.findall(text) if not re.match(r"\w+:|#", link)}
    named = {span for span in spans(text) if FILE.fullmatch(span) and not span.startswith(MADE)}
    assert linked | named
    # A link begins at the folder of its page, a name at that of the project.
    found = {path: (paths.ROOT / name).parent / path for path in linked} | {path: paths.ROOT / path for path in named}
    assert [path for path, place in sorted(found.items()) if not place.exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_command_and_option_exists(name):
    targets = set(re.findall(r"^([a-z-]+):.*## ", (paths.ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    found = 0
    for words in commands(page(name)):
        if words[:2] == ["python", "-m"]:
            words = words[2:] if words[2] == "skinlesions" else words
            assert words[0] != "python", f"{name}: {' '.join(words)} is no command any more"
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        if words[0] == "make":
            asked = [word for word in words[1:] if "=" not in word]
            assert set(asked) <= targets, f"{name}: make {asked}"
        elif words[0] == "skinlesions" and len(words) > 1:
            assert words[1] in main.COMMANDS, f"{name}: skinlesions {words[1]}"
            assert given <= options(words[1]), f"{name}: {' '.join(words)}"
        elif words[0].startswith("--"):
            assert given <= set().union(*map(options, main.COMMANDS)), f"{name}: {' '.join(words)}"
        else:
            continue
        found += 1
    assert found


@pytest.mark.parametrize("name", PAGES)
def test_every_key_of_the_settings_exists(name):
    text = page(name)
    dotted = re.compile(r"\+?([a-z_]+(?:\.\w+)+)(?:[=:].*)?")
    set_by_dvc = re.findall(r"(?:-S|--set-param)[ =](\S+)", text)
    keys = {match[1] for span in [*spans(text), *set_by_dvc] if (match := dotted.fullmatch(span))}
    keys = {key for key in keys if key.partition(".")[0] in [*Params.model_fields] and not FILE.fullmatch(key)}
    assert keys and [key for key in sorted(keys) if not is_key(key)] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_test_and_constant_exists(name):
    named = {span for span in spans(page(name)) if re.fullmatch(r"(test|assert)_\w+|[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", span)}
    assert [word for word in sorted(named) if not re.search(rf"\b{word}\b", sources())] == []


def test_what_is_no_key_is_told_from_what_is():
    assert is_key("models.any_name.head.dropout") and is_key("data.external.images") and is_key("compare.ensemble")
    assert not any(map(is_key, ["train.max_hours", "models.any_name.dropout", "head.dropout.more", "heads"]))


def test_the_citation_is_of_this_version_and_its_licence():
    citation = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= citation.keys()
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert [reference["doi"] for reference in citation["references"]] == ["10.1038/sdata.2018.161"]


def test_the_changelog_has_this_version():
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    headings = re.findall(r"^## (\S+)", (paths.ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased" and project["version"] in headings
