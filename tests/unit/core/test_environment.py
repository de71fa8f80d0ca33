"""The versions of packages, as they are installed and as they are recorded."""

import importlib.metadata

import pytest

from skinlesions.core import environment
from skinlesions.core.errors import UserError

PACKAGES = {"numpy", "pillow", "keras"}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "environment.yaml"


def test_modules_have_their_packages():
    found = {name: environment.package(name) for name in ("PIL", "sklearn", "yaml", "numpy", "skinlesions", "json")}
    assert found == {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml", "numpy": "numpy"} | {
        "skinlesions": None,
        "json": None,
    }


def test_what_is_written_is_what_is_installed_and_is_written_once(file):
    changed = environment.renew(PACKAGES, file)
    assert {name: new for name, (_, new) in changed.items()} == environment.recorded(file)
    assert environment.recorded(file)["numpy"] == importlib.metadata.version("numpy")
    before = file.stat().st_mtime_ns
    assert environment.renew(PACKAGES, file) == {} and file.stat().st_mtime_ns == before
    environment.check(PACKAGES, file)


def test_another_version_is_named_with_both_and_refused(file):
    environment.renew(PACKAGES, file)
    file.write_text(file.read_text().replace(importlib.metadata.version("numpy"), "1.0.0"))
    with pytest.raises(UserError, match=r"numpy is .*says 1\.0\.0.*make report"):
        environment.check(PACKAGES, file)
    environment.check(PACKAGES - {"numpy"}, file)
    assert environment.renew(PACKAGES, file) == {"numpy": ("1.0.0", importlib.metadata.version("numpy"))}


def test_the_backend_of_keras_is_recorded_with_it(file, monkeypatch):
    for backend in ("tensorflow", "jax"):
        monkeypatch.setenv("KERAS_BACKEND", backend)
        expected = f"{backend} {importlib.metadata.version(backend)}"
        assert environment.installed({"keras"})[environment.BACKEND] == expected
        assert environment.BACKEND not in environment.installed({"numpy"})


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(UserError, match="no-such-package is not installed"):
        environment.installed({"no-such-package"})


@pytest.mark.parametrize("text", ["- a list\n", "numpy: [1, 2]\n", "a: b: c\n"])
def test_a_file_that_is_not_a_map_is_refused_with_the_remedy(file, text):
    file.write_text(text)
    with pytest.raises(UserError, match=r"(?s)environment\.yaml is not .*delete it"):
        environment.recorded(file)
