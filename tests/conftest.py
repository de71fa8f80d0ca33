"""What the tests share: where the real data are, if they are here at all."""

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
