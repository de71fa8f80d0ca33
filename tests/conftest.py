"""What the tests share: on which core each runs, and where the real data are, if they are here at all."""

import os
from pathlib import Path

import pytest

from skinlesions.core import paths


def _folder(variable: str, beside: str) -> Path | None:
    """The folder that `variable` names, else `beside` next to the repository, if it is there."""
    folder = Path(os.environ.get(variable) or paths.ROOT.parent / "shared" / beside)
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def ham10000_dir() -> Path:
    """The folder of the real HAM10000 files; the test is skipped where there is none."""
    folder = _folder("HAM10000_DIR", "ham10000")
    if folder is None:
        pytest.skip("no HAM10000 here: set HAM10000_DIR")
    return folder


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """The folder of local ImageNet weights; the test is skipped where there is none."""
    folder = _folder("SKINLESIONS_WEIGHTS_DIR", "weights")
    if folder is None:
        pytest.skip("no local ImageNet weights here: set SKINLESIONS_WEIGHTS_DIR")
    return folder


@pytest.hookimpl(tryfirst=True)  # before xdist looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares costly fixtures, the longest first, so that no core is left with it at the end.

    A module stays on one core; so does a folder of integration tests that has a conftest.py, where its modules share
    the runs that it makes.
    """
    for item in items:
        module = item.path.relative_to(paths.ROOT)
        shared = module.parts[1] == "integration" and item.path.with_name("conftest.py").exists()
        item.add_marker(pytest.mark.xdist_group(str(module.parent if shared else module)))
    items.sort(key=lambda item: item.path.relative_to(paths.ROOT).parts[1] != "integration")
