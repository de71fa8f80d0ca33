"""A report that cannot be made is refused before anything long starts."""

import pytest

from skinlesions.commands import check
from skinlesions.core import config, files, paths
from skinlesions.core.errors import UserError
from tests.helpers.project import settings as configuration


@pytest.fixture
def settings(tmp_path, monkeypatch) -> config.Params:
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path / "stored")
    monkeypatch.setattr(paths, "EXTERNAL_RAW", tmp_path / "external_raw")
    monkeypatch.delenv("SKINLESIONS_WEIGHTS_DIR", raising=False)
    return configuration()


def with_backbones(settings: config.Params, **weights: dict) -> config.Params:
    backbones = {
        name: config.Backbone(architecture=name, crop=64, image_size=64, pooling="average", **keys)
        for name, keys in weights.items()
    }
    return settings.model_copy(update={"backbones": backbones})


def test_a_missing_weights_file_is_named_with_its_remedy(settings, tmp_path, monkeypatch):
    wanted = with_backbones(settings, vgg16={"weights": "vgg16.h5"})
    with pytest.raises(UserError, match="SKINLESIONS_WEIGHTS_DIR is not set"):
        check.check(wanted)
    monkeypatch.setenv("SKINLESIONS_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"no file .*vgg16\.h5.*PRESET=imagenet"):
        check.check(wanted)


def test_a_weights_file_with_another_hash_is_refused(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("SKINLESIONS_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / "vgg16.h5").write_bytes(b"weights")
    digest = files.sha256(tmp_path / "vgg16.h5")
    check.check(with_backbones(settings, vgg16={"weights": "vgg16.h5", "sha256": digest}))
    with pytest.raises(UserError, match="SHA-256"):
        check.check(with_backbones(settings, vgg16={"weights": "vgg16.h5", "sha256": "0" * 64}))


def test_weights_that_are_stored_or_need_no_file_pass(settings, tmp_path):
    files.write_bytes(tmp_path / "stored" / "vgg16.weights.h5", b"weights")
    check.check(
        with_backbones(
            settings,
            vgg16={"weights": "vgg16.h5"},
            resnet50={"weights": "imagenet"},
            mobilenet_v2={"weights": "none"},
        )
    )


def test_an_external_set_that_is_not_there_is_named_unless_it_was_fetched_before(settings, tmp_path):
    wanted = config.External(images=str(tmp_path / "outside.zip"), ground_truth=str(tmp_path / "truth.csv"))
    data = settings.data.model_copy(update={"external": wanted})
    asking = with_backbones(settings.model_copy(update={"data": data}), vgg16={"weights": "none"})
    with pytest.raises(UserError, match=r"(?s)data\.external\.images: .*outside\.zip.*null"):
        check.check(asking)
    files.write_json(tmp_path / "external_raw" / "source.json", {})
    check.check(asking)
