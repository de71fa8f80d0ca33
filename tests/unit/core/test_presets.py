"""Presets change params.yaml key by key, and keep its comments."""

import copy
from pathlib import Path

import pytest

from skinlesions.core import config, paths, presets
from skinlesions.core.errors import UserError
from tests.helpers.project import TINY, tiny, write_params

# Those that change params.yaml; sample.yaml stands alone.
PRESETS = [path for path in sorted((paths.ROOT / "presets").glob("*.yaml")) if path.stem != "sample"]


def test_merging_follows_the_examples_of_rfc_7396():
    # Appendix A of RFC 7396, those between maps.
    for target, patch, expected in [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]:
        assert presets.merged(copy.deepcopy(target), patch) == expected, (target, patch)


def asked_for(preset: dict) -> dict:
    """The smallest configuration, with everything in it that `preset` changes."""
    values = tiny()
    values["prepare"]["size"] = 240
    values["data"]["source"] = "ham10000"
    wanted = {*preset.get("backbones", {}), *preset.get("models", {})} - {"baseline_cnn"}
    for name in sorted(wanted):
        architecture = max((known for known in config.ARCHITECTURES if name.startswith(known)), key=len)
        backbone = {"architecture": architecture, "weights": "none", "crop": 96, "image_size": 96}
        values["backbones"].setdefault(name, backbone)
        values["models"].setdefault(name, {"inputs": f"features/{name}.npy"})
    return values


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_of_the_project_gives_valid_settings_and_a_second_time_changes_nothing(preset, tmp_path):
    changes = config.read_yaml(preset)
    values = asked_for(changes)
    write_params(tmp_path, values)
    presets.apply(preset, tmp_path / "params.yaml")
    assert config.read_yaml(tmp_path / "params.yaml") == presets.merged(values, changes)
    assert config.load(tmp_path / "params.yaml")
    first = (tmp_path / "params.yaml").read_bytes()
    presets.apply(preset, tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").read_bytes() == first


def test_a_complete_preset_takes_the_place_of_params(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("broken: [\n")
    presets.apply(TINY, params)
    assert params.read_bytes() == TINY.read_bytes()
    preset = tmp_path / "preset.yaml"
    preset.write_text(TINY.read_text().replace("folds: 3", "folds: 1"))
    with pytest.raises(UserError, match=r"preset\.yaml has 1 fault:\s+split.folds"):
        presets.apply(preset, params)
    assert params.read_bytes() == TINY.read_bytes()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file of settings that may be changed, with a comment on every key of one block."""
    text = TINY.read_text().replace("  folds: 3\n", "  folds: 3   # of lesions\n")
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


def test_a_preset_changes_its_keys_and_keeps_every_other_line(tmp_path, target):
    preset = tmp_path / "smaller.yaml"
    preset.write_text("split:\n  folds: 4\nmodels:\n  vgg16: {head: {hidden_units: 8}}\n")
    before = target.read_text().splitlines()
    presets.apply(preset, target)
    settings = config.load(target)
    assert (settings.split.folds, settings.models["vgg16"].head.hidden_units) == (4, 8)
    after = target.read_text().splitlines()
    assert "  folds: 4   # of lesions" in after
    lost = [line for line in before if line not in after]
    assert [line.split(":")[0].strip() for line in lost] == ["folds", "vgg16"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("split: {folds: many}", r"params\.yaml with .*wrong\.yaml has 1 fault:\n  split\.folds"),
        ("backbones: {vgg16: null}", "backbones"),
        ("- split", r"wrong\.yaml is not a map of parameters"),
        ("", r"wrong\.yaml is not a map of parameters"),
        ("split: [", r"wrong\.yaml is not valid YAML"),
        (None, r"wrong\.yaml does not exist"),
    ],
)
def test_a_preset_that_does_not_fit_changes_nothing(tmp_path, target, content, fault):
    before = target.read_bytes()
    preset = tmp_path / "wrong.yaml"
    if content is not None:
        preset.write_text(content)
    with pytest.raises(UserError, match=fault):
        presets.apply(preset, target)
    assert target.read_bytes() == before
    assert config.validate(tiny())
