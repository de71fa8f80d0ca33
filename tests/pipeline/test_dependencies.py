"""dvc.yaml declares the code that each stage runs: no more, so that nothing reruns in vain, and no less."""

import ast
import json
import re
import shlex

import pytest
import yaml

from skinlesions import paths

PIPELINE = (paths.ROOT / "dvc.yaml").read_text(encoding="utf-8")
STAGES = {name: stage.get("do", stage) for name, stage in yaml.safe_load(PIPELINE)["stages"].items()}


def plumbing() -> set[str]:
    """The modules that dvc.yaml says it leaves out: those in brackets in its opening comment."""
    header = " ".join(line.removeprefix("#").strip() for line in PIPELINE.splitlines() if line.startswith("#"))
    listed = re.search(r"plumbing that every stage shares \(([^)]*)\)", header)
    assert listed, "the opening comment of dvc.yaml no longer lists the plumbing"
    return {f"skinlesions/{name.strip().removesuffix('.py')}.py" for name in listed[1].split(",")}


def module_file(name: str) -> str | None:
    """The file of the module `name` of this project, relative to the root; None for a package or an outside module."""
    path = f"{name.replace('.', '/')}.py"
    return path if name.startswith("skinlesions.") and (paths.ROOT / path).is_file() else None


def imported(code: str) -> set[str]:
    """The files of this project that Python `code` imports, inside functions as well."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import: the project writes them in full"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {file for name in names if (file := module_file(name))}


def entry(stage: str) -> tuple[str, str]:
    """The file that the command of `stage` runs, and the Python code in it."""
    words = shlex.split(STAGES[stage]["cmd"])
    assert words[:2] == ["python", "-m"], f"{stage}: {words}"
    file = words[3] if words[2] == "skinlesions.notebook" else f"{words[2].replace('.', '/')}.py"
    text = (paths.ROOT / file).read_text(encoding="utf-8")
    if file.endswith(".ipynb"):
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return file, text


def code_of(stage: str) -> set[str]:
    """Every file of code that `stage` runs, except the plumbing and what only the plumbing imports."""
    first, text = entry(stage)
    known, waiting = {first}, imported(text) - plumbing()
    while waiting:
        file = waiting.pop()
        known.add(file)
        waiting |= imported((paths.ROOT / file).read_text(encoding="utf-8")) - plumbing() - known
    return known


def declared(stage: str) -> set[str]:
    """The dependencies of `stage` that are code: files and folders."""
    return {path for path in STAGES[stage]["deps"] if path.startswith(("skinlesions/", "notebooks/"))}


def covers(dependency: str, file: str) -> bool:
    """Whether `dependency` is `file` or a folder with it."""
    return file == dependency or file.startswith(f"{dependency}/")


def test_the_plumbing_exists():
    assert {file for file in plumbing() if not (paths.ROOT / file).is_file()} == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_all_the_code_it_runs(stage: str):
    missing = {file for file in code_of(stage) if not any(covers(path, file) for path in declared(stage))}
    assert not missing, f"add to the deps of {stage} in dvc.yaml: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_no_code_that_it_does_not_run(stage: str):
    python = {path for path in declared(stage) if path.endswith(".py") or (paths.ROOT / path).is_dir()}
    needless = {path for path in python if not any(covers(path, file) for file in code_of(stage))}
    assert not needless, f"{stage} does not import: {', '.join(sorted(needless))}"


def test_the_walk_finds_imports_in_functions_and_of_whole_modules():
    code = "import skinlesions.files\ndef f():\n    from skinlesions.models import heads\n    from os import path\n"
    assert imported(code) == {"skinlesions/files.py", "skinlesions/models/heads.py"}
