"""params.yaml is checked whole before anything runs; a stage sees what DVC tracks for it and nothing else."""

import copy
from pathlib import Path

import dvc.api
import pytest
import yaml

from skinlesions.commands.environment import renew_inputs
from skinlesions.core import config, environment, inputs, paths
from skinlesions.core.errors import UserError
from tests.helpers.project import TINY, copy_pipeline, tiny, write_params

# Single keys, entries of a block, blocks, and all of them.
STAGES = ["data", "external_data", "weights@vgg16", "features@vgg16", "train@vgg16", "compare", "report"]


@pytest.fixture
def values() -> dict:
    """A changeable copy of the smallest configuration."""
    return tiny()


@pytest.fixture
def params(tmp_path, monkeypatch) -> Path:
    """A params.yaml of its own, in place of the user's."""
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params.yaml")
    write_params(tmp_path, tiny())
    return paths.PARAMS


def change(values: dict, key: str, value: object) -> dict:
    """Set the value of a dotted key."""
    *blocks, last = key.split(".")
    block = values
    for name in blocks:
        block = block[name]
    block[last] = value
    return values


def refused(values: object) -> str:
    """The message with which `values` are refused."""
    with pytest.raises(UserError) as error:
        config.validate(values)
    return str(error.value)


# --- what is shared ---------------------------------------------------------------------------------------------


def test_what_is_shared_is_written_into_every_block(values):
    settings = config.validate(values)
    vgg16, baseline = settings.models["vgg16"], settings.models["baseline_cnn"]
    assert settings.backbones["vgg16"].architecture == "vgg16"
    assert settings.backbones["vgg16"].crop == values["features"]["crop"]
    assert vgg16.head == settings.head
    assert baseline.head.hidden_units == 128 and baseline.head.dropout == settings.head.dropout
    assert vgg16.fine_tune.batch_size == settings.fine_tune.batch_size
    assert vgg16.fine_tuned and not baseline.fine_tuned
    assert settings.balance.resamples == 20 and settings.compare.resamples == values["statistics"]["resamples"] == 40
    assert {model.backbone for model in settings.models.values()} == {None, "vgg16"}


def test_the_complete_settings_are_valid_settings(values):
    settings = config.validate(values)
    assert config.validate(settings.model_dump()) == settings
    assert config.validate(settings.model_dump(mode="json")) == settings


def test_no_epochs_of_fine_tuning_leave_the_backbone_frozen(values):
    assert not config.validate(change(values, "fine_tune.epochs", 0)).models["vgg16"].fine_tuned


@pytest.mark.parametrize(
    "preset", [paths.ROOT / "presets" / "sample.yaml", paths.ROOT / "benchmarks" / "pipeline.yaml"]
)
def test_the_configurations_that_stand_alone_are_valid(preset):
    assert config.load(preset).models


# --- faults -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("split.seeds", 1, "split.seeds"),
        ("spilt", {}, "spilt"),
        ("split.folds", "5", "split.folds"),
        ("split.folds", 5.0, "split.folds"),
        ("split.folds", True, "split.folds"),
        ("split.folds", None, "split.folds"),
        ("split.folds", 2, "split.folds"),
        ("split", [], "split"),
        ("split.seed", -1, "split.seed"),
        ("data.source", "kaggle", "data.source"),
        ("data.external", {"images": "a.zip"}, "data.external.ground_truth"),
        ("data.external", {"images": "a.zip", "ground_truth": "a.csv"}, "external"),
        ("data.external", {"images": "a", "ground_truth": "b", "mapping": {"SCC": "scc"}}, "data.external.mapping.SCC"),
        ("data.external", {"images": "a", "ground_truth": "b", "mapping": {"AK": "nv", "ak": "nv"}}, "'ak' stands"),
        ("data.external", {"images": "a", "ground_truth": "b", "part": "test"}, "data.external.part"),
        ("prepare.fit", "squash", "prepare.fit"),
        ("prepare.size", 10**9, "prepare.size"),
        ("head.learning_rate", float("inf"), "head.learning_rate"),
        ("head.dropout", 1.0, "head.dropout"),
        ("statistics.confidence", float("nan"), "statistics.confidence"),
        ("balance.strategies", ["none", "luck"], "balance.strategies.1"),
        ("balance.strategies", [], "balance.strategies"),
        ("balance.strategy", "focal_loss", "balance.strategy"),
        ("publish.model", "resnet", "publish.model"),
        ("balance.backbone", "resnet", "balance.backbone"),
        ("split.duplicates.backbone", "resnet", "split.duplicates.backbone"),
        ("leakage.backbone", "resnet", "leakage.backbone"),
        ("models.vgg16.inputs", "features/resnet.npy", "models.vgg16.inputs"),
        ("models.vgg16.inputs", "../secret.npy", "models.vgg16.inputs"),
        ("models.vgg16.augmentation", "dihedral", "models.vgg16.augmentation"),
        ("models.vgg16.head", {"epoch": 1}, "models.vgg16.head.epoch"),
        ("models.vgg16.fine_tune", {}, "models.vgg16.fine_tune.from_layer"),
        ("models.vgg16.fine_tune.precision", "float64", "models.vgg16.fine_tune.precision"),
        ("models.vgg16.fine_tune.warmup_epochs", 9.0, "models.vgg16.fine_tune"),
        ("models.baseline_cnn.fine_tune", {"from_layer": "all"}, "models.baseline_cnn.fine_tune"),
        ("models.baseline_cnn.image_size", None, "models.baseline_cnn.image_size"),
        ("models.baseline_cnn.image_size", 64, "models.baseline_cnn.image_size"),
        ("models.VGG", {"inputs": "features/vgg16.npy"}, "models.VGG"),
        ("models." + "a" * 300, {"inputs": "features/vgg16.npy"}, "models."),
        ("models.ensemble", {"inputs": "features/vgg16.npy"}, "models.ensemble"),
        ("models.stacked", {"inputs": "features/vgg16.npy"}, "models.stacked"),
        ("models.always_nv", {"inputs": "features/vgg16.npy"}, "models.always_nv"),
        ("models", {}, "models"),
        ("backbones.vgg16.crop", 256, "backbones.vgg16.crop"),
        ("backbones.vgg16.image_size", 31, "backbones.vgg16.image_size"),
        ("backbones.vgg16.architecture", "vgg", "backbones.vgg16"),
        ("backbones.vgg16.weights", "../../etc/passwd", "backbones.vgg16.weights"),
        ("backbones.vgg16.sha256", "abc", "backbones.vgg16.sha256"),
        ("compare.ensemble", ["vgg16", "vgg"], "compare.ensemble"),
        ("compare.ensemble", ["vgg16", "vgg16"], "compare.ensemble"),
        ("compare.test_resamples", 10**9, "compare.test_resamples"),
        ("explain.models", ["vgg16", "vgg"], "explain.models"),
        ("explain.model", "vgg", "explain.model"),
    ],
)
def test_a_fault_is_named_by_its_key(values, key, value, names):
    message = refused(change(values, key, value))
    assert names in message
    assert message.startswith("params.yaml has 1 fault:\n"), message


EMBEDDING = {"features": "own.npy", "ids": "own.csv"}


def test_an_embedding_takes_nothing_of_what_networks_share(values):
    values["backbones"]["own"] = EMBEDDING
    values["models"]["own"] = {"inputs": "features/own.npy"}
    values["balance"]["backbone"] = values["leakage"]["backbone"] = values["split"]["duplicates"]["backbone"] = "own"
    settings = config.validate(values)
    assert settings.backbones["own"] == config.Embedding(**EMBEDDING)
    assert settings.models["own"].backbone == "own" and isinstance(settings.backbones["vgg16"], config.Backbone)


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("backbones.own", {"features": "own.npy"}, "  backbones.own.ids: "),
        ("backbones.own.weights", "imagenet", "  backbones.own.weights: "),
        ("backbones.own.sha256", "abc", "  backbones.own.sha256: "),
        ("models.own.fine_tune", {"from_layer": "all"}, "models.own.fine_tune: own is an embedding"),
        ("explain.models", ["vgg16", "own"], "explain.models: 'own' reads an embedding"),
        ("publish.model", "own", "publish.model: 'own' reads an embedding"),
    ],
)
def test_what_an_embedding_cannot_do_is_named_by_its_key(values, key, value, names):
    values["backbones"]["own"] = dict(EMBEDDING)
    values["models"]["own"] = {"inputs": "features/own.npy"}
    message = refused(change(values, key, value))
    assert names in message and message.startswith("params.yaml has 1 fault:\n"), message


def test_a_network_is_not_given_less_than_it_takes(values):
    values["backbones"]["inception_v3"] = {"weights": "none", "crop": 48, "image_size": 48}
    assert "75" in refused(values)


def test_every_fault_is_named_at_once(values):
    del values["split"]["seed"], values["head"]["patience"], values["explore"]
    message = refused(values)
    for key in ("split.seed", "head.patience", "explore"):
        assert f"  {key}: " in message


@pytest.mark.parametrize("whole", [None, [], ["a"], "text", 1])
def test_a_file_that_is_no_map_of_parameters(whole):
    assert "whole file" in refused(whole)


@pytest.mark.parametrize(
    "block", [name for name, value in tiny().items() if isinstance(value, dict) and name not in ("models", "backbones")]
)
def test_a_block_may_not_be_left_out(values, block):
    del values[block]
    assert f"  {block}" in refused(values)


# --- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"split: {folds: 5\n", "not valid YAML"),
        (b"a: 1\nb: {c: 1, c: 2}\n", "stands twice"),
        (b"a: 1\na: 1\n", "stands twice"),
        ("a: ä".encode("latin-1"), "UTF-8"),
        (b"a: !!python/object/apply:os.abort []\n", "not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"params\.yaml .*{message}"):
        config.load(path)


def test_a_file_that_is_not_there_or_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"params\.yaml does not exist"):
        config.load(tmp_path / "params.yaml")
    with pytest.raises(UserError, match=r"cannot be read"):
        config.load(tmp_path)


# --- a stage ----------------------------------------------------------------------------------------------------


READ_FROM_OUTSIDE = {"data": ["ham10000"], "external_data": ["external_set"], "weights": ["weights"]}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_sees_what_dvc_tracks_for_it(tmp_path, params, monkeypatch, stage):
    """As DVC itself resolves it, in a project with the same files."""
    copy_pipeline(tmp_path)
    renew_inputs(config.load(), tmp_path / inputs.FILE.name)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    tracked = config.tracked(stage)
    monkeypatch.chdir(tmp_path)
    shown = dvc.api.params_show(stages=stage)
    versions = {name: shown.pop(name) for name in config.packages(stage)}
    outside = {name: shown.pop(name) for name in ("ham10000", "external_set", "weights") if name in shown}
    assert tracked == shown
    known = {"ham10000": {}, "external_set": {}, "weights": {"vgg16": {}}}
    assert outside == {name: known[name] for name in READ_FROM_OUTSIDE.get(stage.partition("@")[0], ())}
    assert versions == {name: environment.recorded()[name] for name in versions}


def test_a_stage_reads_typed_blocks_and_no_others(params):
    settings = config.of_stage("train@vgg16")
    assert settings.models["vgg16"] == config.load(TINY).models["vgg16"]
    assert list(settings.models) == ["vgg16"]
    with pytest.raises(UserError, match=r"stage train@vgg16 reads `compare`"):
        settings.compare  # noqa: B018
    assert config.of_stage("compare").names("models") == ["baseline_cnn", "vgg16"]
    with pytest.raises(UserError, match="backbones"):
        config.of_stage("compare").names("backbones")


def test_a_block_without_what_it_shares_is_refused(values):
    settings = config.StageSettings("train@vgg16", {"models": values["models"], "train": values["train"]})
    assert settings.train.seed == values["train"]["seed"]
    with pytest.raises(UserError, match=r"models\.vgg16\.head"):
        settings.models  # noqa: B018


@pytest.mark.parametrize("stage", ["trian", "train", "train@resnet50", "data@x"])
def test_an_unknown_stage_is_named(params, stage):
    with pytest.raises(UserError, match=stage):
        config.of_stage(stage)


def test_a_fault_anywhere_stops_every_stage(params):
    write_params(params.parent, change(copy.deepcopy(tiny()), "explore.mosaik", 1))
    with pytest.raises(UserError, match=r"explore\.mosaik"):
        config.of_stage("prepare")


def test_the_settings_show_themselves_in_a_notebook(params):
    text = config.of_stage("explore")._repr_markdown_()
    assert yaml.safe_load(text.strip("`").removeprefix("yaml")) == {"explore": tiny()["explore"]}
