"""What the tests share: in which order they run, and where the real data are, if they are here at all."""

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


@pytest.fixture(scope="session")
def cases_dir() -> Path:
    """The folder of small files as people have them; the test is skipped where there is none."""
    folder = _folder("SKINLESIONS_CASES_DIR", "cases")
    if folder is None:
        pytest.skip("no cases here: set SKINLESIONS_CASES_DIR")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, the pipeline and the other integration tests: no core is left with one at the end.

    xdist deals whole files (--dist loadfile), since the tests of a file share costly fixtures.
    """
    slow = ("integration/pipeline", "integration", "unit/training", "unit/models")
    paths_of = [item.path.relative_to(paths.ROOT / "tests").as_posix() for item in items]
    rank = {path: next((n for n, prefix in enumerate(slow) if path.startswith(prefix)), len(slow)) for path in paths_of}
    items.sort(key=lambda item: rank[item.path.relative_to(paths.ROOT / "tests").as_posix()])
