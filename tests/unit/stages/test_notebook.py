"""The runner of notebooks: what it refuses, what it writes, and what it leaves behind when things go wrong."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest

from skinlesions.core import notebooks
from skinlesions.core.errors import UserError
from skinlesions.stages import notebook as runner
from tests.helpers.project import copy_code, tiny, write_params

DVC_YAML = """\
stages:
  train:
    foreach: {vgg16: {}}
    do:
      cmd: >-
        ${python} -m skinlesions.stages.notebook train.ipynb out/${key}.ipynb -p model ${key}
      deps: [train.ipynb, skinlesions, input.csv]
      params: [train, head, fine_tune, "models.${key}"]
      outs: ["out/${key}.ipynb"]
  endless:
    cmd: >-
      ${python} -m skinlesions.stages.notebook endless.ipynb out/endless.ipynb
    deps: [endless.ipynb]
  moved:
    cmd: >-
      ${python} -m skinlesions.stages.notebook moved.ipynb out/moved.ipynb
    deps: [moved.ipynb, skinlesions, input.csv]
    params: [explore.seed]
"""

# Says on stderr who it is, and does not end.
ENDLESS = """import os, sys, threading
print("pid", os.getpid(), file=sys.stderr, flush=True)
threading.Event().wait()"""

RICH = {
    "parameters": 'seed = 1\nnames = ["a"]',
    "imports": "import sys\nimport matplotlib.pyplot as plt\nimport pandas as pd\n"
    "from skinlesions.core import paths\nfrom skinlesions.figures import style\nstyle.use_style()",
    "prints": 'print("progress", file=sys.stderr)\nprint("a result", {"x", "y", "z"}, paths.ROOT / "data")\nobject()',
    "figure": "figure, axes = plt.subplots()\naxes.plot([1, 2, seed])\nplt.close(figure)\nfigure",
    "table": 'pd.DataFrame({"name": names})',
    "interpreter": "sys.executable",
}


# Seconds, more than any of it takes.
PATIENCE = 60


def sources(**cells: str) -> nbformat.NotebookNode:
    """A notebook with a title and one code cell per argument, whose name is its id; `parameters` gets its tag."""
    built = [nbformat.v4.new_markdown_cell("# Title of the notebook", id="title")]
    for identifier, source in cells.items():
        tags = {"tags": ["parameters"]} if identifier == "parameters" else {}
        built.append(nbformat.v4.new_code_cell(source, id=identifier, metadata=tags))
    return nbformat.v4.new_notebook(cells=built, metadata=notebooks.METADATA)


def make_project(root: Path) -> Path:
    """A copy of the library with settings of its own in the folder `root`, ready for DVC."""
    copy_code(root)
    (root / "input.csv").write_text("a\n1\n")
    (root / "dvc.yaml").write_text(DVC_YAML.replace("${python}", shlex.quote(sys.executable)))
    nbformat.write(sources(**RICH), root / "rich.ipynb")
    read = "from skinlesions.core import config\nsettings = config.of_stage(f'train@{model}')"
    show = "settings.models[model].head.epochs, settings.train.seed"
    nbformat.write(sources(parameters='model = "none"', settings=read, show=show), root / "train.ipynb")
    move = 'from pathlib import Path\nPath("input.csv").write_text("a\\n2, moved\\n")'
    nbformat.write(sources(move=move), root / "moved.ipynb")
    (root / "out").mkdir()
    return root


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("project"))


def environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    return inherited | {"DVC_NO_ANALYTICS": "1", "PATH": "/usr/bin:/bin", "JUPYTER_PATH": "/nonexistent"}


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "skinlesions.stages.notebook", *arguments]
    return subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True)


def prepare_dvc(project: Path) -> None:
    if not (project / ".dvc").exists():
        command = [sys.executable, "-m", "dvc", "init", "--no-scm", "-q"]
        subprocess.run(command, cwd=project, env=environment(), check=True)


def repro(project: Path, stage: str) -> subprocess.CompletedProcess:
    prepare_dvc(project)
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "--force", stage]
    return subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True)


# --- parameters -------------------------------------------------------------------------------------------------


def test_declared_defaults_are_read_without_running_them():
    found = runner.declared(sources(parameters='# why\na = 1\nb = ["x", None, -2.5]\nc = {"k": True}'))
    assert found == {"a": 1, "b": ["x", None, -2.5], "c": {"k": True}}
    assert runner.declared(sources(first="a = 1")) == {}


@pytest.mark.parametrize("source", ["import os", "a = len([])", "a, b = 1, 2", "a += 1"])
def test_a_parameters_cell_holds_only_literals(source):
    with pytest.raises(UserError, match="parameters cell"):
        runner.declared(sources(parameters=source))


def test_parameters_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match=r"declares no sed.* seed"):
        runner.check_parameters({"sed": 1}, {"seed": 0}, "n.ipynb")
    with pytest.raises(UserError, match="declares no seed"):
        runner.check_parameters({"seed": 1}, {}, "n.ipynb")
    runner.check_parameters({"seed": 1}, {"seed": 0, "patience": 3}, "n.ipynb")


def test_injected_values_are_those_given():
    given = {"text": "a 'quoted' \\ \n \"text\"", "number": 1e-07, "nothing": None, "flags": [True, {"k": 0}]}
    given |= {"long": ["some words " * 20] * 3, "map": {"b": list(range(100)), "a": "long text " * 30}}
    document = sources(parameters="text = ''")
    runner.inject(document, given)
    assert [cell.id for cell in document.cells] == ["title", "parameters", "injected-parameters"]
    variables: dict = {}
    exec(document.cells[2].source, variables)
    assert {name: variables[name] for name in given} == given


# --- the run ----------------------------------------------------------------------------------------------------


def test_the_same_results_give_the_same_bytes_wherever_the_project_is(project, tmp_path):
    elsewhere = make_project(tmp_path / "a longer path" / "to another copy")
    for root in (project, elsewhere):
        result = run(root, "rich.ipynb", "out/rich.ipynb", "-p", "seed", "3", "-p", "names", "[b, <c>]")
        assert result.returncode == 0, result.stderr
        assert "Title of the notebook" in result.stderr
        assert "progress" in result.stderr
    content = (project / "out/rich.ipynb").read_bytes()
    assert content == (elsewhere / "out/rich.ipynb").read_bytes()

    document = nbformat.reads(content.decode(), as_version=4)
    nbformat.validate(document)
    outputs = {cell.id: cell.outputs for cell in document.cells if cell.cell_type == "code"}
    printed, shown = outputs["prints"]
    assert printed.name == "stdout"
    assert printed.text.endswith(" data\n")
    assert shown.data["text/plain"] == "<object>"
    assert "image/png" in outputs["figure"][0].data
    assert "&lt;c&gt;" in outputs["table"][0].data["text/html"]
    assert outputs["interpreter"][0].data["text/plain"] == repr(sys.executable)
    assert document.metadata == notebooks.METADATA | {"papermill": {"parameters": {"names": ["b", "<c>"], "seed": 3}}}
    assert not list((project / "logs").rglob("rich.ipynb"))


def test_a_failed_cell_is_named_and_its_notebook_kept(project):
    nbformat.write(sources(works="print('so far')", fails="int('many\\nlines')"), project / "fails.ipynb")
    result = run(project, "fails.ipynb", "out/fails.ipynb")
    assert result.returncode == 1
    assert 'cell "fails" of fails.ipynb failed: ValueError: invalid literal' in result.stderr
    assert "logs/out/fails.ipynb" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (project / "out/fails.ipynb").exists()
    kept = (project / "logs/out/fails.ipynb").read_text()
    assert "so far" in kept
    assert "ValueError" in kept


def test_a_dead_kernel_is_reported(project):
    nbformat.write(sources(dies="import os\nos._exit(9)"), project / "dies.ipynb")
    result = run(project, "dies.ipynb", "out/dies.ipynb")
    assert result.returncode == 1
    assert "the kernel of dies.ipynb died" in result.stderr
    assert not (project / "out/dies.ipynb").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_kernel(project, number):
    nbformat.write(sources(endless=ENDLESS), project / "endless.ipynb")
    command = [sys.executable, "-m", "skinlesions.stages.notebook", "endless.ipynb", "out/endless.ipynb"]
    with subprocess.Popen(
        command,
        cwd=project,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        # A test suite in the background of a shell ignores SIGINT, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            kernel = next(int(line.split()[1]) for line in process.stderr if line.startswith("pid "))
            process.send_signal(number)
            _, remaining = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()  # a run that does not end would keep the test waiting for ever
    assert process.returncode == 128 + number
    assert "Traceback" not in remaining
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)
    assert not (project / "out/endless.ipynb").exists()


@pytest.mark.parametrize("victim", ["dvc", "skinlesions.stages.notebook", "ipykernel_launcher"])
def test_whatever_is_killed_nothing_runs_on_and_nothing_is_left(project, tmp_path, victim):
    nbformat.write(sources(endless=ENDLESS), project / "endless.ipynb")
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "--force", "endless"]
    prepare_dvc(project)
    variables = environment() | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, cwd=project, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as dvc:
        try:
            next(line for line in dvc.stderr if line.startswith("pid "))
            running = [psutil.Process(dvc.pid), *psutil.Process(dvc.pid).children(recursive=True)]
            next(process for process in running if victim in process.cmdline()[2]).kill()
            dvc.communicate(timeout=PATIENCE)
            assert psutil.wait_procs(running, timeout=PATIENCE)[1] == []
        finally:
            dvc.kill()
    assert dvc.returncode != 0
    assert not (project / "out/endless.ipynb").exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list((project / "logs").rglob("*.kernel")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.ipynb", "o.ipynb"], "absent.ipynb does not exist"),
        (["input.csv", "o.ipynb"], "input.csv is not a Jupyter notebook"),
        (["rich.ipynb", "o.ipynb", "-p", "seed", "1", "-p", "seed", "2"], "-p seed is given twice"),
        (["rich.ipynb", "o.ipynb", "-p", "seed", "[1"], "not valid YAML"),
        (["rich.ipynb", "o.ipynb", "-p", "sed", "1"], "declares no sed"),
    ],
)
def test_a_wrong_command_line_is_explained(project, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setattr(sys, "argv", ["notebook", *arguments])
    with pytest.raises(UserError, match=message):
        runner.main()
    assert not (project / "o.ipynb").exists()


# --- under DVC --------------------------------------------------------------------------------------------------


def test_a_notebook_reads_the_settings_of_its_stage(project):
    result = repro(project, "train@vgg16")
    assert result.returncode == 0, result.stderr
    document = nbformat.read(project / "out/vgg16.ipynb", as_version=4)
    assert document.metadata.papermill.parameters == {"model": "vgg16"}
    shown = next(cell for cell in document.cells if cell.id == "show").outputs[0].data["text/plain"]
    assert shown == str((tiny()["head"]["epochs"], tiny()["train"]["seed"]))


def test_faulty_settings_are_refused_before_the_kernel_starts(tmp_path):
    root = make_project(tmp_path / "faulty")
    write_params(root, tiny() | {"explore": {"mosaic_colums": 1, "seed": 1}})
    result = repro(root, "train@vgg16")
    assert result.returncode != 0
    assert "explore.mosaic_colums" in result.stderr
    assert not (root / "logs").exists()


def test_an_input_that_moves_during_the_run_fails_the_stage(project):
    result = repro(project, "moved")
    assert result.returncode != 0
    assert "input.csv changed while the notebook ran" in result.stderr
    assert not (project / "out/moved.ipynb").exists()


def test_touching_code_is_no_change_but_editing_is(tmp_path):
    code, data = tmp_path / "module.py", tmp_path / "folder" / "table.csv"
    data.parent.mkdir()
    code.write_text("a = 1\n")
    data.write_text("1\n")
    before = runner.fingerprint([code, data.parent])
    os.utime(code, ns=(0, 0))
    assert runner.fingerprint([code, data.parent]) == before
    code.write_text("a = 2\n")
    os.utime(data, ns=(0, 0))
    after = runner.fingerprint([code, data.parent])
    assert all(after[name] != before[name] for name in before)
    (data.parent / "more.csv").write_text("")
    assert len(runner.fingerprint([code, data.parent])) == len(before) + 1
