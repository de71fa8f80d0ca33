"""Runs one notebook of the pipeline: `python -m skinlesions.stages.notebook SOURCE TARGET [-p NAME VALUE ...]`.

A notebook takes its settings from skinlesions.core.config.of_stage, under papermill and by hand alike; what is given
here is only which of several stages it runs for. The executed copy is brought into a form that is the same, byte for
byte, whenever the results are the same.
"""

import argparse
import ast
import os
import pprint
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbformat import NotebookNode

from skinlesions.core import config, files, notebooks, paths
from skinlesions.core.errors import UserError, run_main

PARAMETERS_TAG = "parameters"
INJECTED_TAG = "injected-parameters"
_CODE_SUFFIXES = (".py", ".ipynb")


# --- what a stage takes -----------------------------------------------------------------------------------------


def stage_files(stage: str) -> list[Path]:
    """The files and folders that dvc.yaml declares for `stage` to depend on, templates resolved."""
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo

    with Repo(str(paths.ROOT)) as repo:
        dependencies = repo.stage.get_target(stage).deps
        return [Path(one.fs_path) for one in dependencies if not isinstance(one, ParamsDependency)]


def fingerprint(inputs: Iterable[Path]) -> dict[str, str]:
    """What tells whether any of `inputs` (files, or folders with all that is in them) changed.

    Code by its content, so that opening or touching a file changes nothing; data, which may be gigabytes, by size
    and time of modification.
    """

    def mark(path: Path) -> str:
        if path.suffix in _CODE_SUFFIXES:
            return files.sha256(path)
        status = path.stat()
        return f"{status.st_size} bytes, modified {status.st_mtime_ns}"

    found: dict[str, str] = {}
    for path in inputs:
        if not path.exists():
            raise UserError(f"{paths.relative(path)} does not exist; `dvc repro` makes what the stage needs")
        members = (member for member in path.rglob("*") if member.is_file()) if path.is_dir() else [path]
        found |= {paths.relative(member): mark(member) for member in members if "__pycache__" not in member.parts}
    return found


def _refuse_moved(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise a UserError if an input changed while the notebook ran.

    DVC hashes the inputs after the command, so it would record the new ones as what gave the old results
    (treeverse/dvc issue 11058).
    """
    moved = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if moved:
        raise UserError(
            f"{', '.join(moved[:5])}{' ...' if len(moved) > 5 else ''} changed while the notebook ran, so its results "
            "belong to neither version; run it again"
        )


# --- the notebook and its parameters ----------------------------------------------------------------------------


def _parameters_position(notebook: NotebookNode) -> int | None:
    """Where the cell tagged `parameters` is."""
    tagged = (PARAMETERS_TAG in cell.metadata.get("tags", []) for cell in notebook.cells)
    return next((position for position, found in enumerate(tagged) if found), None)


def declared(notebook: NotebookNode) -> dict[str, Any]:
    """The variables of the notebook's `parameters` cell with their defaults; none if there is no such cell.

    Raises:
        UserError: the cell holds something other than assignments of literal values to names.
    """
    position = _parameters_position(notebook)
    if position is None:
        return {}
    defaults: dict[str, Any] = {}
    for statement in ast.parse(notebook.cells[position].source).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                try:
                    defaults[name] = ast.literal_eval(value)
                    continue
                except ValueError:
                    pass
        raise UserError(f"the parameters cell may only assign literal values to names, not: {ast.unparse(statement)}")
    return defaults


def check_parameters(given: Mapping[str, Any], defaults: Mapping[str, Any], source: str) -> None:
    """Refuse variables that the notebook `source` does not declare: papermill would only warn.

    Raises:
        UserError: naming the variables.
    """
    if unknown := sorted(given.keys() - defaults.keys()):
        raise UserError(
            f"{source} declares no {', '.join(unknown)}; its parameters cell has: "
            f"{', '.join(sorted(defaults)) or 'nothing, or there is none'}"
        )


def _literal(value: object) -> str:
    """`value` as Python code, long lists on several lines."""
    return pprint.pformat(value, width=110, compact=True, sort_dicts=False)


def inject(notebook: NotebookNode, parameters: Mapping[str, Any]) -> None:
    """Add the cell that assigns `parameters`, after the cell with the defaults, and record them in the metadata."""
    if not parameters:
        return
    lines = ["# The parameters of this run", *(f"{name} = {_literal(value)}" for name, value in parameters.items())]
    cell = nbformat.v4.new_code_cell("\n".join(lines), id=INJECTED_TAG, metadata={"tags": [INJECTED_TAG]})
    position = _parameters_position(notebook)
    notebook.cells.insert(0 if position is None else position + 1, cell)
    notebook.metadata["papermill"] = {"parameters": dict(parameters)}


# --- the run ----------------------------------------------------------------------------------------------------


@contextmanager
def _kernel_environment(folder: Path) -> Iterator[None]:
    """Give the kernel settings of its own: nothing of the user's profile, nothing that differs between runs.

    Args:
        folder: for the files of the kernel; the key to it is among them. A killed run leaves it to the next.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    changes = {
        "IPYTHONDIR": f"{folder}/ipython",
        "JUPYTER_RUNTIME_DIR": f"{folder}/runtime",
        "PYTHONHASHSEED": "0",
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _announce_section(cell: NotebookNode) -> None:
    """Say on the terminal which section of the notebook is reached."""
    if cell.cell_type == "markdown" and cell.source.startswith("#"):
        print(f"  {cell.source.splitlines()[0].lstrip('# ')}", file=sys.stderr, flush=True)


def execute(notebook: NotebookNode, source: str, log: Path) -> NotebookNode:
    """`notebook` executed by this very interpreter in the repository's root.

    What cells write to stderr appears on the terminal as it comes. The file `log` holds the state of the run; it is
    removed at the end, unless a cell failed.

    Raises:
        UserError: a cell failed or the kernel died; the message names the cell and the notebook to open.
    """
    import papermill
    import zmq
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import DeadKernelError
    from traitlets import default

    folder = log.with_name(f"{log.name}.kernel")

    class ThisInterpreter(AsyncKernelManager):
        """Starts `sys.executable`, whatever other kernel named python3 is installed on the machine."""

        @default("connection_file")
        def _connection_file_default(self) -> str:
            return str(folder / "connection.json")

        @default("kernel_spec_manager")
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])

        @default("transport_encryption")
        def _transport_encryption_default(self) -> str:
            return "auto" if zmq.has("curve") else "disabled"

    def begin_cell(cell: NotebookNode, **_: object) -> None:
        # The kernel has read its files by now. Without them a kill leaves nothing behind.
        shutil.rmtree(folder, ignore_errors=True)
        _announce_section(cell)

    files.write_text(log, nbformat.writes(notebook))
    try:
        with _kernel_environment(folder):
            executed = papermill.execute_notebook(
                log,
                log,
                kernel_name="python3",
                cwd=paths.ROOT,
                progress_bar=False,
                stderr_file=sys.stderr,
                on_cell_start=begin_cell,
                kernel_manager_class=ThisInterpreter,
                shutdown_kernel="immediate",
                record_timing=False,
                coalesce_streams=True,
            )
    except papermill.PapermillExecutionError as error:
        cell = notebook.cells[error.cell_index].id
        reason = error.evalue if error.ename == UserError.__name__ else f"{error.ename}: {error.evalue}".splitlines()[0]
        raise UserError(
            f'cell "{cell}" of {source} failed: {reason}\nOpen {paths.relative(log)}: it has the results up to that '
            "cell and the traceback."
        ) from None
    except DeadKernelError:
        raise UserError(
            f"the kernel of {source} died; the usual cause is too little memory. {paths.relative(log)} has the results "
            "up to then."
        ) from None
    log.unlink()
    return executed


def run(source: Path, target: Path, given: Mapping[str, Any]) -> None:
    """Execute the notebook `source` with the parameters `given` and write the result, in stable bytes, to `target`.

    All other settings the notebook takes by itself, from skinlesions.core.config.of_stage.

    Raises:
        UserError: parameters do not fit, a cell failed, or an input changed meanwhile; `target` is not written then.
    """
    source, target = source.resolve(), target.resolve()
    title = paths.relative(source)
    notebook = notebooks.read(source)
    check_parameters(given, declared(notebook), title)
    stage = os.environ.get("DVC_STAGE")
    watched = {source, *(stage_files(stage) if stage else ())}
    before, settings = fingerprint(watched), config.tracked(stage) if stage else {}
    inject(notebook, given)

    print(f"{title} -> {paths.relative(target)}", file=sys.stderr, flush=True)
    log = paths.LOGS / (target.relative_to(paths.ROOT) if target.is_relative_to(paths.ROOT) else target.name)
    executed = execute(notebook, title, log)
    _refuse_moved(before, fingerprint(watched))
    if stage and config.tracked(stage) != settings:
        raise UserError(f"parameters of {title} changed in params.yaml while it ran; run it again")
    notebooks.normalise(executed)
    files.write_bytes(target, notebooks.notebook_bytes(executed))


def _terminate(*_: object) -> None:
    """Turn a request to end into an exception, so that the kernel is shut down on the way out."""
    sys.exit(128 + signal.SIGTERM)


def main() -> None:
    """Command line of the runner."""
    parser = argparse.ArgumentParser(prog="python -m skinlesions.stages.notebook", description=__doc__)
    parser.add_argument("source", type=Path, help="the notebook, without outputs")
    parser.add_argument("target", type=Path, help="where the executed copy goes")
    parser.add_argument(
        "-p", dest="given", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="VALUE is YAML"
    )
    arguments = parser.parse_args()
    given: dict[str, Any] = {}
    for name, text in arguments.given:
        if name in given:
            raise UserError(f"-p {name} is given twice")
        try:
            given[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UserError(f"-p {name} {text}: the value is not valid YAML") from None
    signal.signal(signal.SIGTERM, _terminate)
    try:
        run(arguments.source, arguments.target, given)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    run_main(main)
