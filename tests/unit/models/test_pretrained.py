"""Whatever the source of the weights, the plain architecture computes what their owner's network computes."""

import ast
import inspect
import json

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from skinlesions.core import files, paths
from skinlesions.core.config import Backbone
from skinlesions.core.errors import UserError
from skinlesions.models import backbones, pretrained

SIZE = 64


def settings(architecture: str, source: str = "imagenet", cut_at: str | None = None, **values: object) -> Backbone:
    size = {"crop": SIZE, "image_size": SIZE, "pooling": "average"}
    return Backbone(architecture=architecture, weights=source, cut_at=cut_at, **(size | values))


@pytest.fixture(scope="module")
def pixels():
    """Float images with values of 0 to 255, as an EfficientNet takes them."""
    return np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")


def calibrate(network: keras.Model, pixels: np.ndarray) -> None:
    """Statistics of batch normalisation that fit the activations: a change of the input is felt at the far end."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(pixels, training=True)


@pytest.fixture(scope="module")
def official_file(tmp_path_factory, pixels):
    """A stand-in for Keras' file: the whole EfficientNetB0 without top, in the same format."""
    keras.utils.set_random_seed(0)
    network = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    normalization = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
    mean, deviation = np.array(backbones.IMAGENET_MEAN), np.array(backbones.IMAGENET_DEVIATION)
    normalization.set_weights([mean, deviation**2, np.array(0, "int32")])
    normalization.finalize_state()
    calibrate(network, pixels)
    path = tmp_path_factory.mktemp("keras") / "efficientnetb0_notop.h5"
    network.save(path)
    return path


@pytest.fixture
def downloads(monkeypatch, official_file):
    """What Keras asks to download; it gets the stand-in."""
    asked = []

    def get_file(name: str, origin: str, *, file_hash: str, **rest: object) -> str:
        asked.append((name, origin, file_hash))
        return str(official_file)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    return asked


@pytest.fixture
def official(downloads):
    """Keras' own network with its ImageNet weights, as its users get it."""
    network = keras.applications.EfficientNetB0(include_top=False, weights="imagenet", input_shape=(SIZE, SIZE, 3))
    assert sum(isinstance(layer, keras.layers.Rescaling) for layer in network.layers) == 2  # the trap is there
    return network


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """How far activations are off, as a share of their spread."""
    return float(np.abs(found - expected).mean() / expected.std())


def stored_and_loaded(cut_at: str | None) -> keras.Model:
    """The network as the stage `features` gets it from the stage `weights`."""
    pretrained.save("efficientnet_b0", *pretrained.load("efficientnet_b0", settings("efficientnet_b0", cut_at=cut_at)))
    network = backbones.trunk("efficientnet_b0", SIZE, cut_at)
    network.load_weights(paths.backbone_weights("efficientnet_b0"))
    return network


@pytest.mark.parametrize("cut_at", [None, "before:block3a_expand_conv"])
def test_official_efficientnet_weights_keep_their_rescaling(tmp_path, monkeypatch, official, downloads, pixels, cut_at):
    if cut_at is not None:
        official = keras.Model(official.inputs, official.get_layer(cut_at.removeprefix("before:")).input)
    expected = official.predict_on_batch(pixels)
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    keras.backend.clear_session()  # as in the process of a stage: Keras numbers the layers from 0
    network = stored_and_loaded(cut_at)
    assert distance(network.predict_on_batch(pixels), expected) < 2e-3
    assert downloads[0] == downloads[1] and all(downloads[0])  # the same file, under Keras' own hash
    provenance = files.read_json(tmp_path / "efficientnet_b0.json")
    assert provenance["source"].startswith("Keras' ImageNet weights") and provenance["initialisation"] == "ImageNet"


def test_without_the_rescaling_the_activations_are_far_off(official, official_file, pixels):
    """That the test above can fail: the plain architecture with the official file computes something else."""
    plain = backbones.trunk("efficientnet_b0", SIZE, None)
    plain.load_weights(official_file)
    assert distance(plain.predict_on_batch(pixels), official.predict_on_batch(pixels)) > 0.2


def test_the_rescaling_is_kept_in_a_process_that_built_other_networks_before(tmp_path, monkeypatch, official, pixels):
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    network = stored_and_loaded(None)
    assert distance(network.predict_on_batch(pixels), official.predict_on_batch(pixels)) < 2e-3


def test_the_loaded_network_computes_what_the_stored_one_will(official, pixels):
    keras.backend.clear_session()
    network, _ = pretrained.load("efficientnet_b0", settings("efficientnet_b0"))
    assert distance(network.predict_on_batch(pixels), official.predict_on_batch(pixels)) < 2e-3


def test_networks_without_normalization_layer_are_left_alone(monkeypatch, tmp_path, pixels):
    source = keras.applications.VGG16(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    source.save(tmp_path / "vgg16_notop.h5")
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(tmp_path / "vgg16_notop.h5"))
    network, _ = pretrained.load("vgg16", settings("vgg16", cut_at="block3_pool"))
    expected = keras.Model(source.inputs, source.get_layer("block3_pool").output)
    np.testing.assert_array_equal(network.predict_on_batch(pixels), expected.predict_on_batch(pixels))


def test_a_failed_download_says_what_else_can_be_done(monkeypatch):
    def get_file(*_: object, **__: object) -> str:
        raise Exception("URL fetch failure on https://example.org/vgg16.h5: None -- Connection refused")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(UserError, match=r"could not download the ImageNet weights of vgg16 \(URL .*vgg16\.h5"):
        pretrained.load("vgg16", settings("vgg16"))
    unknown = settings("vgg16").model_copy(update={"architecture": "vgg17"})
    with pytest.raises(UserError, match="unknown architecture 'vgg17'"):
        pretrained.load("vgg16", unknown)


def test_random_weights_are_the_same_every_time():
    first, provenance = pretrained.load("vgg16", settings("vgg16", "none", cut_at="block2_pool"))
    np.random.default_rng().normal()
    keras.utils.set_random_seed(99)
    second, _ = pretrained.load("vgg16", settings("vgg16", "none", cut_at="block2_pool"))
    for one, two in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert first.get_weights()[0].std() > 0
    assert provenance["source"] == "random initialisation" and provenance["sha256"] is None
    assert provenance["initialisation"] == "random"


def test_activations_of_random_weights_neither_fade_nor_explode(pixels):
    """Random features of MobileNetV2 without statistics of batch normalisation are below 1e-9: zero in float16."""
    network, _ = pretrained.load("mobilenet_v2", settings("mobilenet_v2", "none"))
    again, _ = pretrained.load("mobilenet_v2", settings("mobilenet_v2", "none"))
    for one, two in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    features = backbones.feature_extractor("random", "mobilenet_v2", network, "average").predict_on_batch(
        pixels.astype("uint8")
    )
    assert 0.05 < features.mean() < 5 and features.max() < 100
    assert (features.astype("float16").std(axis=0) > 0).mean() > 0.9  # hardly any channel is dead
    momenta = {layer.momentum for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert momenta == {0.999}  # as Keras made them


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of local weights, with one file for VGG16 up to block2_pool."""
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path))
    backbones.trunk("vgg16", SIZE, "block2_pool").save(tmp_path / "vgg16.h5")
    return tmp_path


def test_a_local_file_is_loaded_and_named_without_its_folder(folder, pixels):
    digest = files.sha256(folder / "vgg16.h5")
    chosen = settings("vgg16", "vgg16.h5", "block2_pool", sha256=digest, origin="a colleague")
    network, provenance = pretrained.load("vgg16", chosen)
    reference = keras.saving.load_model(folder / "vgg16.h5", compile=False)
    np.testing.assert_array_equal(network.predict_on_batch(pixels), reference.predict_on_batch(pixels))
    assert provenance == {
        "backbone": "vgg16",
        "architecture": "vgg16",
        "initialisation": "ImageNet",
        "cut_at": "block2_pool",
        "crop": SIZE,
        "image_size": SIZE,
        "pooling": "average",
        "source": "a colleague",
        "file": "vgg16.h5",
        "sha256": digest,
        "keras": keras.__version__,
    }
    _, unnamed = pretrained.load("vgg16", settings("vgg16", "vgg16.h5", "block2_pool"))
    assert (unnamed["source"], unnamed["sha256"]) == ("a local file", digest)


def test_another_file_than_the_pinned_one_is_refused(folder):
    with pytest.raises(UserError) as error:
        pretrained.load("vgg16", settings("vgg16", "vgg16.h5", "block2_pool", sha256="0" * 64))
    message = str(error.value)
    assert message.startswith("backbones.vgg16.weights: ") and "vgg16.h5 has SHA-256 " in message
    assert files.sha256(folder / "vgg16.h5") in message and f"expected {'0' * 64}" in message
    assert "fetch the file again" in message


def test_without_the_folder_or_the_file_the_remedy_is_named(folder, monkeypatch):
    with pytest.raises(UserError, match=r"backbones\.vgg16\.weights: there is no file .*other\.h5; put it there, or"):
        pretrained.load("vgg16", settings("vgg16", "other.h5"))
    monkeypatch.delenv(pretrained.FOLDER_VARIABLE)
    with pytest.raises(UserError, match=r"SKINLESIONS_WEIGHTS_DIR is not set; point it to .* to imagenet"):
        pretrained.load("vgg16", settings("vgg16", "vgg16.h5"))


@pytest.mark.parametrize(
    ("name", "cut_at", "content"),
    [("vgg16", "block3_pool", None), ("vgg16", None, None), ("mobilenet_v2", None, None), ("vgg16", None, b"<html>")],
)
def test_a_file_that_does_not_fit_is_refused(folder, name, cut_at, content):
    if content is not None:
        (folder / "vgg16.h5").write_bytes(content)
    with pytest.raises(UserError, match=f"vgg16.h5 does not fit {name} cut at {cut_at or 'its end'}: .*\\.cut_at"):
        pretrained.load(name, settings(name, "vgg16.h5", cut_at))


def test_stored_weights_and_provenance_are_the_same_bytes_every_time(tmp_path, monkeypatch):
    contents = []
    for run in ("first", "second"):
        monkeypatch.setattr(paths, "WEIGHTS", tmp_path / run)
        keras.backend.clear_session()  # the names of layers are in the file, and Keras numbers some in each process
        pretrained.save("vgg16", *pretrained.load("vgg16", settings("vgg16", "none", cut_at="block1_pool")))
        assert {path.name for path in (tmp_path / run).iterdir()} == {"vgg16.weights.h5", "vgg16.json"}
        contents.append([path.read_bytes() for path in sorted((tmp_path / run).iterdir())])
    assert contents[0] == contents[1]
    provenance = json.loads(contents[0][0])
    assert provenance["stored_sha256"] == files.sha256(paths.backbone_weights("vgg16"))
    assert str(tmp_path) not in contents[0][0].decode()


# Of the files that development goes on with: what each of them is cut at.
LOCAL = {
    "mobilenet_v2": ("mobilenet_v2.h5", None),
    "vgg16": ("vgg16_to_block3_pool.h5", "block3_pool"),
    "xception": ("xception_before_block14_sepconv1.h5", "before:block14_sepconv1"),
}


@pytest.mark.parametrize("name", LOCAL)
def test_local_weights_load_into_the_backbone(weights_dir, monkeypatch, name):
    """Of a natural picture the features are neither dead nor exploding, and differ between pictures."""
    file, cut_at = LOCAL[name]
    if not (weights_dir / file).exists():
        pytest.skip(f"no {file} in {weights_dir}")
    backbone = settings(name, file, cut_at=cut_at, image_size=224, crop=224)
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(weights_dir))
    network, provenance = pretrained.load(name, backbone)
    assert provenance["sha256"] == files.sha256(weights_dir / file)
    random = np.random.default_rng(0)
    smooth = np.repeat(np.repeat(random.integers(0, 256, (2, 14, 14, 3), dtype="uint8"), 16, axis=1), 16, axis=2)
    size = backbone.image_size
    features = backbones.feature_extractor(name, name, network, "average").predict_on_batch(smooth[:, :size, :size])
    assert np.isfinite(features).all() and features.std() > 1e-3
    assert (features > 0).mean() > 0.3 and np.abs(features).max() < 6e4
    assert np.corrcoef(features)[0, 1] < 0.999


# --- weights: imagenet -------------------------------------------------------------------------------------------


@pytest.fixture
def unreachable(monkeypatch):
    """Keras' server cannot be reached; what Keras asks for is noted."""
    asked = []

    def get_file(name: str, *_: object, **__: object) -> str:
        asked.append(name)
        raise Exception("URL fetch failure: Connection refused")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    return asked


@pytest.mark.parametrize(
    ("cut_at", "name", "taken"),
    [
        ("block2_pool", "vgg16.h5", True),
        ("block2_pool", "vgg16.weights.h5", True),
        ("block2_pool", "vgg16_to_block2_pool.h5", True),
        ("before:block2_pool", "vgg16_before_block2_pool.h5", True),
        ("block2_pool", "vgg16_to_block3_pool.h5", False),  # another cut
        ("before:block2_pool", "vgg16_to_block2_pool.h5", False),
        (None, "vgg16_to_block2_pool.h5", False),  # the whole is wanted
        ("block2_pool", "vgg19.h5", False),
        ("block2_pool", "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", True),
    ],
)
def test_imagenet_takes_a_local_file_of_the_architecture_first(tmp_path, monkeypatch, unreachable, cut_at, name, taken):
    wanted = settings("vgg16", cut_at=cut_at)
    source = pretrained.plain(wanted)
    stored = tmp_path / "stored.weights.h5"
    source.save_weights(stored)
    stored.rename(tmp_path / name) if name.endswith(".weights.h5") else source.save(tmp_path / name)
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path))
    if not taken:
        with pytest.raises(UserError, match=r"could not download .* put vgg16\.h5 into a folder that"):
            pretrained.load("vgg16", wanted)
        assert len(unreachable) == 1
        return
    network, provenance = pretrained.load("vgg16", wanted)
    assert not unreachable
    assert (provenance["file"], provenance["sha256"]) == (name, files.sha256(tmp_path / name))
    for found, expected in zip(network.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_whole_network_serves_a_backbone_that_is_cut(tmp_path, monkeypatch, unreachable, pixels):
    source = keras.applications.VGG16(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    source.save(tmp_path / "vgg16.h5")
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path))
    network, _ = pretrained.load("vgg16", settings("vgg16", cut_at="block3_pool"))
    expected = keras.Model(source.inputs, source.get_layer("block3_pool").output)
    np.testing.assert_array_equal(network.predict_on_batch(pixels), expected.predict_on_batch(pixels))


def test_a_local_copy_of_keras_own_efficientnet_file_keeps_its_rescaling(
    tmp_path, monkeypatch, official, official_file, pixels
):
    (tmp_path / "efficientnetb0_notop.h5").write_bytes(official_file.read_bytes())
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path))
    keras.backend.clear_session()
    network, provenance = pretrained.load("efficientnet_b0", settings("efficientnet_b0"))
    assert provenance["file"] == "efficientnetb0_notop.h5"
    assert distance(network.predict_on_batch(pixels), official.predict_on_batch(pixels)) < 2e-3


@pytest.mark.parametrize(
    ("file", "architectures"),
    [
        ("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", {"mobilenet_v2"}),
        ("efficientnetv2-b0_notop.h5", {"efficientnet_v2_b0"}),
        ("efficientnetb0_notop.h5", {"efficientnet_b0"}),
        (
            "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            {"inception_resnet_v2", "inception_resnet_v2_5_10_5"},
        ),
        ("resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", {"resnet50"}),
        ("resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5", set()),
        ("vgg16_weights_tf_dim_ordering_tf_kernels.h5", set()),  # with its top
    ],
)
def test_what_keras_has_downloaded_before_is_known(tmp_path, monkeypatch, file, architectures):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    files.write_bytes(tmp_path / "models" / file, b"")
    assert {name for name in backbones.ARCHITECTURES if pretrained.in_cache_of_keras(name)} == architectures


def test_of_which_files_keras_has_no_hash():
    """Read in Keras' own source: where it downloads, and whether it says what must come."""
    names = ("DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionV3", "MobileNetV2", "ResNet50", "VGG16")
    unchecked = set()
    for name in (*names, "Xception", "InceptionResNetV2", "ConvNeXtTiny"):
        tree = ast.parse(inspect.getsource(inspect.getmodule(getattr(keras.applications, name))))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        downloads = [call for call in calls if getattr(call.func, "attr", "") == "get_file"]
        assert downloads, name
        if not all(any(keyword.arg == "file_hash" for keyword in call.keywords) for call in downloads):
            unchecked.add(name.lower())
    assert unchecked == {name.replace("_", "") for name in pretrained.WITHOUT_HASH}


def test_what_keras_downloaded_is_recorded_with_its_hash(tmp_path, monkeypatch, official, official_file):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    copy = tmp_path / "models" / official_file.name
    files.write_bytes(copy, official_file.read_bytes())
    _, provenance = pretrained.load("efficientnet_b0", settings("efficientnet_b0"))
    assert (provenance["file"], provenance["sha256"]) == (copy.name, files.sha256(copy))
