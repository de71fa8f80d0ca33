"""params.yaml is checked whole before anything runs, and presets change it key by key."""

import copy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from skinlesions.core import config, paths
from skinlesions.core.errors import UserError

PRESETS = sorted((paths.ROOT / "presets").glob("*.yaml"))


@pytest.fixture
def values():
    """A changeable copy of what params.yaml says."""
    return copy.deepcopy(config.read_yaml(paths.PARAMS))


def change(values: dict, key: str, value: object) -> dict:
    """Set the value of a dotted key."""
    *blocks, last = key.split(".")
    block = values
    for name in blocks:
        block = block[name]
    block[last] = value
    return values


def test_the_parameters_of_this_repository_are_valid():
    settings = config.load()
    assert settings == config.validate(settings.model_dump())
    assert {model.backbone for model in settings.models.values()} <= {None, *settings.backbones}


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("split.seeds", 1, "split.seeds: Extra inputs are not permitted"),
        ("spilt", {}, "spilt: Extra inputs are not permitted"),
        ("split.folds", "5", "split.folds: Input should be a valid integer"),
        ("split.folds", 5.0, "split.folds: Input should be a valid integer"),
        ("split.folds", True, "split.folds: Input should be a valid integer"),
        ("split.folds", None, "split.folds: Input should be a valid integer"),
        ("split.folds", 2, "split.folds: Input should be greater than or equal to 3"),
        ("split.seed", -1, "split.seed: Input should be greater than or equal to 0"),
        ("split.seed", 2**32, "split.seed: Input should be less than 4294967296"),
        ("prepare.fit", "Crop", "prepare.fit: Input should be 'crop', 'pad' or 'stretch'"),
        ("train.deterministic", "yes", "train.deterministic: Input should be a valid boolean"),
        ("balance.dropout", 1.0, "balance.dropout: Input should be less than 1"),
        ("balance.learning_rate", 0.0, "balance.learning_rate: Input should be greater than 0"),
        ("balance.strategies", [], "balance.strategies: List should have at least 1 item"),
        ("balance.strategies", ["smote"], "balance.strategies.0: Input should be 'none', 'balanced_weights'"),
        ("backbones.vgg16.pooling", "max", "backbones.vgg16.pooling: Input should be 'average' or 'flatten'"),
        ("backbones.vgg16.image_size", 31, "backbones.vgg16.image_size: Input should be greater than or equal to 32"),
        ("backbones.mobilenet_v2.sha256", "102A", "backbones.mobilenet_v2.sha256: String should match pattern"),
        ("models.vgg16.inputs", "../raw/metadata.csv", "models.vgg16.inputs: String should match pattern"),
        ("models.vgg16.inputs", "features/../x.npy", "models.vgg16.inputs: String should match pattern"),
        ("backbones", {}, "backbones: Dictionary should have at least 1 item"),
        ("prepare", None, "prepare: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_value_is_named(values, key, value, fault):
    with pytest.raises(UserError) as error:
        config.validate(change(values, key, value))
    assert str(error.value).startswith("params.yaml has 1 fault(s):\n  ")
    assert fault in str(error.value)


@pytest.mark.parametrize(
    "name", ["../../escape", "with space", "Upper", "1st", "", "a/b", "b\n"], ids=lambda name: repr(name)
)
def test_names_that_would_not_do_as_file_names_are_refused(values, name):
    values["models"][name] = values["models"]["baseline_cnn"]
    with pytest.raises(UserError, match=r"(?s)models\..*String should match pattern"):
        config.validate(values)


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("balance.backbone", "resnet51", "balance.backbone: 'resnet51' is not under backbones (efficientnet_b0, "),
        ("leakage.backbone", "resnet51", "leakage.backbone: 'resnet51' is not under backbones (efficientnet_b0, "),
        ("models.vgg16.inputs", "features/vgg19.npy", "models.vgg16.inputs: 'vgg19' is not under backbones"),
        ("models.vgg16.augmentation", "dihedral", "models.vgg16.augmentation: frozen features cannot be augmented"),
        ("models.baseline_cnn.image_size", 241, "models.baseline_cnn.image_size: 241 is more than prepare.size (240)"),
        (
            "models.baseline_cnn.image_size",
            None,
            "models.baseline_cnn.image_size: the side in pixels that the baseline",
        ),
        ("models.baseline_cnn.fine_tune_from", "all", "models.baseline_cnn.fine_tune_from: the baseline CNN has no"),
        ("train.fine_tune.warmup_epochs", 99, "train.fine_tune: Value error, warmup_epochs: 99 is more than the"),
        ("train.views", 4, "train.views: Input should be 1 or 8"),
        ("compare.ensemble", ["resnet51"], "compare.ensemble: 'resnet51' is not under models (baseline_cnn, "),
        ("backbones.vgg16.crop", 256, "backbones.vgg16.crop: 256 is more than prepare.size (240)"),
        (
            "backbones.vgg16.architecture",
            "vgg",
            "backbones.vgg16: Value error, unknown architecture 'vgg'; known: conv",
        ),
        ("backbones.inception_v3.image_size", 74, "image_size: 74 is less than the 75 that inception_v3 takes"),
    ],
)
def test_names_and_sizes_must_fit_each_other(values, key, value, fault):
    values["prepare"]["size"] = 240
    with pytest.raises(UserError) as error:
        config.validate(change(values, key, value))
    assert fault in str(error.value)


def test_a_strategy_that_was_not_compared_cannot_be_chosen(values):
    values["balance"] |= {"strategies": ["none", "oversample"], "strategy": "focal_loss"}
    with pytest.raises(UserError, match=r"balance\.strategy: 'focal_loss' is not among balance\.strategies"):
        config.validate(values)
    config.validate(change(values, "balance.strategy", "oversample"))


def test_every_missing_key_is_named_at_once(values):
    del values["split"]["seed"], values["train"]["patience"], values["explore"]
    with pytest.raises(UserError) as error:
        config.validate(values)
    message = str(error.value)
    assert message.startswith("params.yaml has 3 fault(s):\n")
    for key in ("split.seed", "train.patience", "explore"):
        assert f"  {key}: Field required\n" in message


def every_key(values: dict, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path to every key of nested maps."""
    found = []
    for name, value in values.items():
        found.append((*prefix, name))
        if isinstance(value, dict):
            found += every_key(value, (*prefix, name))
    return found


def test_no_key_may_be_left_out_but_those_that_may_be_null(values):
    optional = {"folder", "external", "sha256", "origin", "cut_at", "image_size", "xla"}
    for key in every_key(values):
        if key[-1] in optional or (len(key) == 2 and key[0] in ("models", "backbones")):
            continue
        shortened = copy.deepcopy(values)
        block = shortened
        for name in key[:-1]:
            block = block[name]
        del block[key[-1]]
        with pytest.raises(UserError, match=r"Field required"):
            config.validate(shortened)


@pytest.mark.parametrize("content", ["", "- a\n- b\n", "text"])
def test_a_file_that_is_no_map_of_parameters(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match="whole file"):
        config.load(path)


def test_a_file_that_is_not_yaml_or_not_there(tmp_path):
    path = tmp_path / "params.yaml"
    with pytest.raises(UserError, match=r"params\.yaml does not exist"):
        config.load(path)
    path.write_text("split: {folds: 5\n")
    with pytest.raises(UserError, match=r"params\.yaml is not valid YAML"):
        config.load(path)


def test_a_tag_in_the_file_runs_nothing(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(f"data: !!python/object/apply:pathlib.Path.touch [{tmp_path / 'made'}]\n")
    with pytest.raises(UserError, match="not valid YAML"):
        config.load(path)


def test_the_backbone_of_a_model_is_read_from_its_inputs():
    models = config.load().models
    assert models["baseline_cnn"].backbone is None
    assert models["mobilenet_v2"].backbone == "mobilenet_v2"


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
        assert config.merged(copy.deepcopy(target), patch) == expected, (target, patch)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A copy of params.yaml that may be changed."""
    return Path(shutil.copy(paths.PARAMS, tmp_path))


def comments(path: Path) -> list[str]:
    """Every comment of a YAML file."""
    return [line.split("#", 1)[1].strip() for line in path.read_text().splitlines() if "#" in line]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_applies_cleanly(preset, target, values):
    config.apply_preset(preset, target)
    changed = config.read_yaml(target)
    assert changed == config.merged(values, config.read_yaml(preset))
    assert config.load(target)
    kept = [line for line in comments(target) if line in comments(paths.PARAMS)]
    assert len(kept) > 0.8 * len(comments(paths.PARAMS))
    first = target.read_bytes()
    config.apply_preset(preset, target)
    assert target.read_bytes() == first  # a second time changes nothing


def test_a_preset_changes_its_keys_and_keeps_every_other_line(tmp_path, target):
    preset = tmp_path / "smaller.yaml"
    preset.write_text("split:\n  folds: 3\nmodels:\n  densenet121: null\n  xception: {hidden_units: 8}\n")
    before = target.read_text().splitlines()
    config.apply_preset(preset, target)
    after = target.read_text().splitlines()
    settings = config.load(target)
    assert (settings.split.folds, settings.models["xception"].hidden_units) == (3, 8)
    assert "densenet121" not in settings.models and "densenet121" in settings.backbones
    start = before.index("  densenet121:", before.index("models:"))
    expected = before[:start] + before[start + 12 :]  # the block of densenet121 has twelve lines
    changed = {(old, new) for old, new in zip(expected, after, strict=True) if old != new}
    assert {tuple(line.split("#")[0].strip() for line in pair) for pair in changed} == {
        ("folds: 5", "folds: 3"),
        ("hidden_units: 256", "hidden_units: 8"),
    }
    assert set(comments(target)) == set(comments(paths.PARAMS))


def test_a_preset_that_does_not_fit_changes_nothing(tmp_path, target):
    before = target.read_bytes()
    preset = tmp_path / "wrong.yaml"
    for content, fault in (
        ("split: {folds: many}", r"params\.yaml with .*wrong\.yaml has 1 fault.*\n  split\.folds"),
        ("backbones: {resnet50: null}", r"balance\.backbone: 'resnet50' is not under backbones"),
        ("- split", r"wrong\.yaml is not a map of parameters"),
        ("", r"wrong\.yaml is not a map of parameters"),
        ("split: [", r"wrong\.yaml is not valid YAML"),
    ):
        preset.write_text(content)
        with pytest.raises(UserError, match=fault):
            config.apply_preset(preset, target)
        assert target.read_bytes() == before
    with pytest.raises(UserError, match=r"absent\.yaml does not exist"):
        config.apply_preset(tmp_path / "absent.yaml", target)


def test_the_command_line(tmp_path):
    """In a copy of the code, whose params.yaml it may change."""
    shutil.copytree(paths.ROOT / "skinlesions", tmp_path / "skinlesions", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(paths.PARAMS, tmp_path)
    preset = tmp_path / "preset.yaml"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-B", "-m", "skinlesions.core.config", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (run("check").returncode, run("check").stderr) == (0, "")
    preset.write_text("compare: {resamples: 99}")
    assert run("apply", "preset.yaml").returncode == 0
    assert yaml.safe_load((tmp_path / "params.yaml").read_text())["compare"]["resamples"] == 99
    preset.write_text("compare: {resamples: 9}")
    refused = run("apply", "preset.yaml")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: params.yaml with preset.yaml has 1 fault(s):\n  compare.resamples: ")
    assert "Traceback" not in refused.stderr
