"""A report that cannot be made is refused before anything long starts."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from skinlesions.commands import check
from skinlesions.core import config, files, paths
from skinlesions.core.errors import UserError
from skinlesions.data.sources import dataverse
from tests.helpers.project import settings as configuration
from tests.helpers.raw_files import dataverse_folder, jpeg, write_files


@pytest.fixture
def settings(tmp_path, monkeypatch) -> config.Params:
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path / "stored")
    monkeypatch.setattr(paths, "EXTERNAL_RAW", tmp_path / "external_raw")
    monkeypatch.setattr(paths, "RAW_MANIFEST", tmp_path / "manifest.csv")
    monkeypatch.setattr(paths, "PARTIAL", tmp_path / "partial")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("SKINLESIONS_WEIGHTS_DIR", "HAM10000_DIR"):
        monkeypatch.delenv(name, raising=False)
    # A port of this machine where nobody listens: the network is there, the servers are not.
    monkeypatch.setattr(dataverse, "BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(check, "KERAS_URL", "http://127.0.0.1:9/keras/")
    return configuration()


def with_backbones(settings: config.Params, **weights: dict) -> config.Params:
    """Other backbones, of which no model is published: whole, they are too large."""
    backbones = {
        name: config.Backbone(architecture=name, crop=64, image_size=64, pooling="average", **keys)
        for name, keys in weights.items()
    }
    return settings.model_copy(update={"backbones": backbones, "publish": config.Publish(model=None)})


def test_a_missing_weights_file_is_named_with_its_remedy(settings, tmp_path, monkeypatch):
    wanted = with_backbones(settings, vgg16={"weights": "vgg16.h5"})
    with pytest.raises(UserError, match="SKINLESIONS_WEIGHTS_DIR is not set"):
        check.check(wanted)
    monkeypatch.setenv("SKINLESIONS_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"no file .*vgg16\.h5.*to imagenet"):
        check.check(wanted)


def test_an_embedding_is_held_against_the_images_of_the_run(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RAW_METADATA", tmp_path / "metadata.csv")
    np.save(tmp_path / "own.npy", np.eye(3))
    (tmp_path / "own.csv").write_text("image_id\na\nb\nc\n")
    own = config.Embedding(features=str(tmp_path / "own.npy"), ids=str(tmp_path / "own.csv"))
    wanted = settings.model_copy(update={"backbones": settings.backbones | {"own": own}})
    check.check(wanted)
    (tmp_path / "metadata.csv").write_text("lesion_id,image_id,dx\nL,a,nv\nL,b,nv\nL,d,nv\n")
    with pytest.raises(UserError, match=r"backbones\.own\.ids: 1 of 3 images have no row: d"):
        check.check(wanted)
    (tmp_path / "own.npy").unlink()
    with pytest.raises(UserError, match=r"backbones\.own\.features: .*own\.npy does not exist"):
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


def test_diagnoses_that_nobody_explained_are_named_before_anything_runs(settings, tmp_path):
    write_files(tmp_path / "outside", {f"{name}.jpg": jpeg(number) for number, name in enumerate("ab")})
    (tmp_path / "truth.csv").write_text("image_id,dx\na,nv\nb,SCC\n")
    wanted = config.External(images=str(tmp_path / "outside"), ground_truth=str(tmp_path / "truth.csv"))

    def asking(external: config.External) -> config.Params:
        data = settings.data.model_copy(update={"external": external})
        return with_backbones(settings.model_copy(update={"data": data}), vgg16={"weights": "none"})

    with pytest.raises(UserError, match=r"truth\.csv: .*'SCC' \(1 image\).*data\.external\.mapping"):
        check.check(asking(wanted))
    check.check(asking(wanted.model_copy(update={"mapping": {"SCC": None}})))


@pytest.fixture
def server():
    """A server that answers, whatever it is asked for."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def of_ham10000(settings: config.Params, **changes: object) -> config.Params:
    data = settings.data.model_copy(update={"source": "ham10000", "folder": None} | changes)
    return settings.model_copy(update={"data": data})


def test_everything_that_is_wrong_is_said_at_once(settings):
    """No network, no folder, no weights, and a layer that does not exist."""
    test_set = config.External(images=dataverse.TEST_FILES[0].name, ground_truth=dataverse.TEST_FILES[1].name)
    backbones = {"vgg16": {"weights": "imagenet"}, "mobilenet_v2": {"weights": "none", "cut_at": "block_99_add"}}
    with pytest.raises(UserError) as error:
        check.check(with_backbones(of_ham10000(settings, external=test_set), **backbones))
    heading, *faults = str(error.value).split("\n- ")
    assert heading.startswith("4 ")
    for fault, parts in zip(
        faults,
        [
            ("HAM10000_DIR", "make demo", "http://127.0.0.1:9 does not answer"),
            ("data.external", *(file.name for file in dataverse.TEST_FILES), "null"),
            ("vgg16", "SKINLESIONS_WEIGHTS_DIR", "weights: none"),
            ("backbones.mobilenet_v2", "block_99_add"),
        ],
        strict=True,
    ):
        assert all(part in fault for part in parts), fault


def test_a_server_that_answers_a_download_of_before_or_a_local_file_is_enough(settings, server, tmp_path, monkeypatch):
    wanted = with_backbones(of_ham10000(settings, external=None), vgg16={"weights": "imagenet"})
    monkeypatch.setattr(dataverse, "BASE_URL", server)
    with pytest.raises(UserError, match="Keras' server"):
        check.check(wanted)
    with monkeypatch.context() as patch:
        patch.setattr(check, "KERAS_URL", server)
        check.check(wanted)
    files.write_bytes(tmp_path / "keras/models/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", b"")
    check.check(wanted)
    (tmp_path / "keras/models/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").rename(tmp_path / "vgg16.h5")
    monkeypatch.setenv("SKINLESIONS_WEIGHTS_DIR", str(tmp_path))
    check.check(wanted)


def test_a_folder_without_the_images_is_refused_before_any_server_is_asked(settings, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("HAM10000_DIR", str(tmp_path / "empty"))
    with pytest.raises(UserError, match="no HAM10000 metadata"):
        check.check(with_backbones(of_ham10000(settings, external=None), vgg16={"weights": "none"}))


def test_a_faulty_row_of_the_metadata_is_named_before_anything_runs(settings, tmp_path, monkeypatch):
    folder = dataverse_folder(tmp_path / "ham10000")
    monkeypatch.setenv("HAM10000_DIR", str(folder))
    wanted = with_backbones(of_ham10000(settings, external=None), vgg16={"weights": "none"})
    check.check(wanted)
    table = folder / "HAM10000_metadata.csv"
    table.write_text(table.read_text().replace(",df,", ",DFX,"))
    with pytest.raises(UserError, match="row 5: dx is 'DFX'"):
        check.check(wanted)


def test_the_layer_where_training_begins_must_exist(settings):
    begun = settings.models["vgg16"].model_copy(
        update={"fine_tune": settings.models["vgg16"].fine_tune.model_copy(update={"from_layer": "block9"})}
    )
    with pytest.raises(UserError, match=r"backbones\.vgg16: .*no layer 'block9'"):
        check.check(settings.model_copy(update={"models": {"vgg16": begun}}))


def test_a_model_too_large_to_be_published_is_said_so_before_it_is_trained(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    check.check(settings)
    large = settings.models["vgg16"].model_copy(
        update={"head": settings.models["vgg16"].head.model_copy(update={"hidden_units": 40_000})}
    )
    wanted = settings.model_copy(update={"models": settings.models | {"vgg16": large}})
    with pytest.raises(UserError, match=r"publish\.model: the weights of vgg16 take [5-9]\d\.\d MB in 3 folds"):
        check.check(wanted)
    check.check(wanted.model_copy(update={"publish": config.Publish(model=None)}))
    check.check(wanted.model_copy(update={"publish": config.Publish(model="baseline_cnn")}))
