"""Reports of stand-in results, made once."""

import shutil

import pytest

from skinlesions.report.publication import publish
from tests.unit.report import standin


@pytest.fixture(scope="session")
def document(tmp_path_factory):
    return standin.executed(tmp_path_factory.mktemp("logs") / "stand-in.ipynb")


@pytest.fixture(scope="session")
def real(document, tmp_path_factory):
    """A report as of real images: (data, reports, parameters)."""
    root = tmp_path_factory.mktemp("real")
    parameters = standin.make(root / "data", document)
    publish(root / "data", root / "reports", parameters)
    return root / "data", root / "reports", parameters


@pytest.fixture(scope="session")
def sample(document, tmp_path_factory):
    """The folder of a report on synthetic images."""
    root = tmp_path_factory.mktemp("sample")
    publish(root / "data", root / "reports", standin.make(root / "data", document, "sample"))
    return root / "reports"


@pytest.fixture
def copied(real, tmp_path):
    """A copy of the report as of real images, to be changed, as the pages on reporting standards read it."""
    shutil.copytree(real[1], tmp_path / "reports")
    return standin.evidence(tmp_path / "reports")
