"""dvc.yaml declares the code and packages of each stage: no more, so that nothing reruns in vain, and no less."""

import json
import shlex

import pytest
import yaml

from skinlesions.core import config, environment, imports, paths

PIPELINE = (paths.ROOT / "dvc.yaml").read_text(encoding="utf-8")
STAGES = {name: stage.get("do", stage) for name, stage in yaml.safe_load(PIPELINE)["stages"].items()}


def entry(stage: str) -> tuple[str, str]:
    """The file that the command of `stage` runs, and the Python code in it."""
    words = shlex.split(STAGES[stage]["cmd"])
    assert words[:2] == ["python", "-m"], f"{stage}: {words}"
    file = words[3] if words[2] == "skinlesions.stages.notebook" else f"{words[2].replace('.', '/')}.py"
    text = (paths.ROOT / file).read_text(encoding="utf-8")
    if file.endswith(".ipynb"):
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return file, text


def code_of(stage: str) -> set[str]:
    """Every file of code that `stage` runs, except the plumbing."""
    first, text = entry(stage)
    return {first, *(paths.relative(file) for file in imports.closure(imports.imported(text)))}


def declared(stage: str) -> set[str]:
    """The dependencies of `stage` that are code: files and folders."""
    return {path for path in STAGES[stage]["deps"] if path.startswith(("skinlesions/", "notebooks/"))}


def covers(dependency: str, file: str) -> bool:
    """Whether `dependency` is `file` or a folder with it."""
    return file == dependency or file.startswith(f"{dependency}/")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_all_the_code_it_runs(stage: str):
    missing = {file for file in code_of(stage) if not any(covers(path, file) for path in declared(stage))}
    assert not missing, f"add to the deps of {stage} in dvc.yaml: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_no_code_that_it_does_not_run(stage: str):
    python = {path for path in declared(stage) if path.endswith(".py") or (paths.ROOT / path).is_dir()}
    needless = {path for path in python if not any(covers(path, file) for file in code_of(stage))}
    assert not needless, f"{stage} does not import: {', '.join(sorted(needless))}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_packages_that_it_imports(stage: str):
    _, text = entry(stage)
    codes = [text, *(file.read_text(encoding="utf-8") for file in imports.closure(imports.imported(text)))]
    used = set().union(*(imports.packages(code) for code in codes))
    used |= {environment.BACKEND} if "keras" in used else set()
    assert sorted(config.packages(stage)) == sorted(used), f"mend {stage} in dvc.yaml"


def test_the_packages_that_are_recorded_are_those_of_the_stages():
    assert environment.recorded().keys() == config.all_packages()


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "train"])
def test_a_notebook_depends_on_its_sentences(stage: str):
    first, _ = entry(stage)
    sentences = first.replace("notebooks/", "notebooks/text/").replace(".ipynb", ".md")
    assert not first.endswith(".ipynb") or sentences in declared(stage)


def test_the_walk_finds_imports_in_functions_and_of_whole_modules_but_no_plumbing():
    code = (
        "import skinlesions.data.splits\ndef f():\n    from skinlesions.models import heads\n"
        "    from skinlesions.core import files\n    from os import path\n"
    )
    assert imports.imported(code) == {"skinlesions/data/splits.py", "skinlesions/models/heads.py"}


def test_packages_are_found_in_functions_too_but_not_what_keras_computes_by():
    code = (
        "import json\nfrom PIL import Image\ndef f():\n    import tensorflow, sklearn.metrics\n    import skinlesions\n"
    )
    assert imports.packages(code) == {"pillow", "scikit-learn"}


def test_a_relative_import_is_refused():
    with pytest.raises(ValueError, match="relative"):
        imports.imported("from . import heads")
