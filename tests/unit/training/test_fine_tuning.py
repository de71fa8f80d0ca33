"""Fine-tuning on a small network: what is trained, in which order, and what an interruption leaves."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from skinlesions.core import config, paths
from skinlesions.core.errors import UserError
from skinlesions.data import balancing
from skinlesions.models import backbones, networks
from skinlesions.training import cross_validation, fine_tuning, first_phase
from skinlesions.training.batches import Batches, MixUp
from skinlesions.training.checkpoint import State, values_of

FOLDS, SIZE = 3, 32
PLAN = balancing.Plan("balanced_weights", 0.5, 0.99, 2.0, 1.0)
FIRST = config.Head(
    hidden_units=16, dropout=0.5, l2=0.1, learning_rate=3e-3, batch_size=16, epochs=4, patience=5, reduce_patience=2
)
SECOND = config.FineTune(
    epochs=2,
    patience=5,
    batch_size=16,
    learning_rate=1e-4,
    warmup_epochs=0.5,
    weight_decay=1e-4,
    label_smoothing=0.1,
    from_layer="all",
    batch_norm="frozen",
    augmentation="standard",
    precision="float32",
    xla=None,
    device_memory_gigabytes=1.0,
    max_hours=1.0,
    views=1,
)
DESCRIPTION = networks.Description(
    name="small",
    training=networks.FINE_TUNED,
    initialisation="random",
    backbone="small",
    architecture="mobilenet_v2",
    cut_at="block_3_expand_relu",
    pooling="average",
    fit="crop",
    prepared_size=SIZE,
    crop=SIZE,
    image_size=SIZE,
    hidden_units=16,
    dropout=0.5,
    l2=0.1,
    folds=FOLDS,
    views=1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the weights of the small backbone, where the project would have its own."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "WEIGHTS", folder)
        keras.utils.set_random_seed(0)
        networks.trunk(DESCRIPTION).save_weights(paths.backbone_weights("small"))
        yield folder


@pytest.fixture(scope="module")
def images():
    """One colour for each class, with noise."""
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(7), 18)
    colors = np.array([[255 * (number >> bit & 1) for bit in range(3)] for number in range(7)])[labels]
    noise = random.integers(-40, 40, (len(labels), SIZE, SIZE, 3))
    return np.clip(colors[:, None, None] + noise, 0, 255).astype("uint8")


@pytest.fixture(scope="module")
def data(folder, images):
    """Their features, labels and folds."""
    trunk = networks.trunk(DESCRIPTION)
    trunk.load_weights(paths.backbone_weights("small"))
    extractor = backbones.feature_extractor("small", "mobilenet_v2", trunk, "average")
    number = np.arange(len(images))
    return cross_validation.Data(extractor.predict(images, verbose=0), number % 7, number // 7 % FOLDS)


def tuner(images, data, plan=PLAN, description=DESCRIPTION, **changed) -> fine_tuning.FineTuner:
    return fine_tuning.FineTuner(description, SECOND.model_copy(update=changed), images, data, plan, seed=1)


def run(second_phase, data, **own) -> cross_validation.Result:
    build = first_phase.builder(FIRST)
    return cross_validation.cross_validate(
        build, data, FIRST, PLAN, seed=1, name="small", second_phase=second_phase, **own
    )


@pytest.fixture(scope="module")
def whole(images, data, tmp_path_factory):
    """A run without interruption, and the folder with its weights."""
    folder = tmp_path_factory.mktemp("whole")
    return run(tuner(images, data), data, partial=folder / "partial", weights_folder=folder / "models"), folder


def test_the_history_tells_both_phases_and_which_epoch_was_kept(whole):
    result, _ = whole
    for _, fold in result.history.groupby("fold"):
        assert fold["phase"].tolist() == [1] * FIRST.epochs + [2] * (SECOND.epochs + 1)
        second = fold[fold["phase"] == 2]
        assert second["epoch"].tolist() == [0, 1, 2] and second["loss"].isna().tolist() == [True, False, False]
        assert second.loc[second["chosen"], "epoch"].tolist() == [
            second.set_index("epoch")["val_balanced_accuracy"].idxmax()
        ]
        assert fold[(fold["phase"] == 1) & fold["chosen"]].shape[0] == 1


def test_epoch_0_is_the_network_with_the_head_of_the_first_phase(whole):
    """So features from the cache and features from the images are the same, and nothing is lost on the way."""
    for _, fold in whole[0].history.groupby("fold"):
        head = fold[(fold["phase"] == 1) & fold["chosen"]].iloc[0]
        begun = fold[(fold["phase"] == 2) & (fold["epoch"] == 0)].iloc[0]
        assert begun["val_loss"] == pytest.approx(head["val_loss"], rel=1e-3)


def test_the_learning_rate_rises_and_falls_to_zero(whole):
    second = whole[0].history.query("phase == 2 and fold == 0").set_index("epoch")["learning_rate"]
    assert second[0] == 0 and 0 < second[1] < SECOND.learning_rate and second[2] == pytest.approx(0, abs=1e-9)


def test_the_kept_weights_are_those_that_scored(whole, images, data, monkeypatch):
    result, folder = whole
    monkeypatch.setattr(networks, "folder", lambda name: folder / "models")
    for fold in range(FOLDS):
        network = networks.load(DESCRIPTION, fold)
        rows = data.fold == fold
        np.testing.assert_allclose(first_phase.predict(network, images[rows]), result.logits_test[rows], atol=1e-4)


def test_folds_do_not_leave_traces_in_each_other(whole, images, data):
    """Fold 2 alone gives what it gave after folds 0 and 1."""
    alone = tuner(images, data)
    train_first = lambda: cross_validation._train_fold(  # noqa: E731
        first_phase.builder(FIRST), data, 2, FIRST, PLAN, seed=3, name="alone", views=1
    )
    fold = alone.fold(2, train_first, None, "alone")
    np.testing.assert_allclose(fold.logits_test, whole[0].logits_test[data.fold == 2], atol=1e-4)


class Interrupted(Exception):
    """Stands for a kill between two epochs."""


def test_an_interrupted_fold_goes_on_from_its_last_epoch(whole, images, data, tmp_path, monkeypatch):
    score, calls = fine_tuning.FineTuner._score, []

    def score_and_stop(self, fold, state, loss, name):
        calls.append((fold, state.epoch))
        if calls[-1] == (1, 2) and calls.count((1, 2)) == 1:
            raise Interrupted
        score(self, fold, state, loss, name)

    monkeypatch.setattr(fine_tuning.FineTuner, "_score", score_and_stop)
    with pytest.raises(Interrupted):
        run(tuner(images, data), data, partial=tmp_path)
    resumed = run(tuner(images, data), data, partial=tmp_path)
    assert calls == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 2), (2, 0), (2, 1), (2, 2)]
    np.testing.assert_allclose(resumed.logits_test, whole[0].logits_test, atol=1e-4)
    pd.testing.assert_frame_equal(resumed.history, whole[0].history, rtol=1e-3)


def test_images_in_the_memory_of_the_device_give_the_same_network(whole, images, data, monkeypatch):
    monkeypatch.setattr(fine_tuning, "device", lambda: "gpu")
    stored = tuner(images, data)
    assert stored.trained.input_shape == (None,)
    result = run(stored, data)
    np.testing.assert_allclose(result.logits_test, whole[0].logits_test, atol=1e-3)


def test_images_that_do_not_fit_are_loaded_in_batches(images, data, monkeypatch):
    monkeypatch.setattr(fine_tuning, "device", lambda: "gpu")
    assert tuner(images, data, device_memory_gigabytes=1e-6).trained.input_shape == (None, SIZE, SIZE, 3)


def test_log_priors_reach_the_loss_of_each_fold(images, data):
    plan = replace(PLAN, strategy="logit_adjustment")
    kept = np.flatnonzero((data.labels != 3) | (data.fold != 1) | (np.arange(len(images)) < 60))
    uneven = cross_validation.Data(data.inputs[kept], data.labels[kept], data.fold[kept])
    second_phase = tuner(images[kept], uneven, plan)
    for fold in range(FOLDS):
        second_phase._reset(fold)
        training_labels = uneven.labels[(uneven.fold != fold) & (uneven.fold != (fold + 1) % FOLDS)]
        expected = balancing.logit_offset(plan, balancing.counts(training_labels))
        np.testing.assert_allclose(second_phase.trained.loss.offset, expected, rtol=1e-6)


def test_batches_have_smoothed_labels_and_class_weights(images, data):
    rows = np.array([5, 3, 8, 1, 0])
    second_phase = tuner(images, data, batch_size=2)
    batches = second_phase._batches(0, rows, np.random.default_rng(0))
    assert len(batches) == 2  # the fifth image does not fill a batch
    inputs, targets, weights = batches[1]
    np.testing.assert_array_equal(inputs, images[[8, 1]])
    expected = np.full((2, 7), 0.1 / 7)
    expected[[0, 1], data.labels[[8, 1]]] += 0.9
    np.testing.assert_allclose(targets, expected, rtol=1e-5)
    np.testing.assert_allclose(weights, 1, rtol=1e-5)  # all classes have the same number of images


def test_mixed_images_and_their_targets_are_mixed_alike(images, data):
    """A target is what the two parts weigh in it, the sample weight what they weigh together."""
    random = np.random.default_rng(0)
    weights, shares = random.uniform(0.5, 2, 6), random.beta(0.4, 0.4, 6).astype("float32")
    batch = Batches(images, np.arange(6), np.eye(7)[:6], weights, 6, shares)[0]
    (shown, kept), targets, sample_weights = batch
    pixels = np.asarray(MixUp()(shown, kept))
    for own in range(6):
        before = (own - 1) % 6
        mixed = shares[own] * images[own].astype("float64") + (1 - shares[own]) * images[before].astype("float64")
        np.testing.assert_allclose(pixels[own], mixed, rtol=1e-3)
        parts = np.zeros(7)
        parts[own], parts[before] = shares[own] * weights[own], (1 - shares[own]) * weights[before]
        np.testing.assert_allclose(targets[own] * sample_weights[own], parts, rtol=1e-6)
    np.testing.assert_allclose(targets.sum(axis=1), 1)


def test_averaged_weights_are_scored_and_kept_and_training_goes_on_from_its_own(images, data):
    """What is kept of an epoch is the moving average of its steps; what goes on is the last step's."""
    second_phase = tuner(images, data, weight_average=0.5, mixup=0.2)
    second_phase._reset(0)
    loss = second_phase._train_epoch(0, 1)
    weights, optimizer = second_phase.trained.trainable_variables, second_phase.trained.optimizer
    own, averages = values_of(weights), values_of(optimizer._model_variables_moving_average)
    state = State(rows=[], epoch=1)
    second_phase._score(0, state, loss, "averaged")
    kept = dict(zip([variable.path for variable in second_phase.network.variables], state.best, strict=True))
    for variable, before, average in zip(weights, own, averages, strict=True):
        np.testing.assert_array_equal(variable.numpy(), before)
        np.testing.assert_array_equal(kept[variable.path], average)
    assert any(not np.array_equal(before, average) for before, average in zip(own, averages, strict=True))


def test_training_begins_at_the_layer_and_batch_normalisations_may_stay_frozen():
    trunk = networks.trunk(DESCRIPTION)
    fine_tuning.choose_trained(trunk, "block_2_expand", "frozen")
    names = [layer.name for layer in trunk.layers]
    first = names.index("block_2_expand")
    for position, layer in enumerate(trunk.layers):
        frozen = position < first or isinstance(layer, keras.layers.BatchNormalization)
        assert layer.trainable == (not frozen), layer.name
    fine_tuning.choose_trained(trunk, "all", "trained")
    assert all(layer.trainable for layer in trunk.layers)


def test_frozen_batch_normalisations_keep_their_statistics_while_the_network_trains(images, data):
    for policy, moves in (("frozen", False), ("trained", True)):
        second_phase = tuner(images, data, batch_norm=policy)
        normalisation = second_phase.network.get_layer("trunk").get_layer("bn_Conv1")
        before = normalisation.moving_mean.numpy()
        second_phase._train_epoch(0, 1)
        assert np.array_equal(before, normalisation.moving_mean.numpy()) != moves


def test_an_unknown_layer_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"no layer 'block_99'; set it to all or one of .*Conv1"):
        fine_tuning.choose_trained(networks.trunk(DESCRIPTION), "block_99", "frozen")


def test_a_run_that_would_take_too_long_is_refused_before_it_begins(images, data, capsys):
    second_phase = tuner(images, data, max_hours=1e-9)
    with pytest.raises(UserError, match=r"more than fine_tune\.max_hours .*params cpu") as refusal:
        run(second_phase, data)
    assert "fine-tuning small on 3 folds for up to 2 epochs would take about" in str(refusal.value)
    assert "images/s" in capsys.readouterr().err


def test_patience_ends_a_fold_early(images, data, monkeypatch):
    """A learning rate of nothing: no epoch is better than epoch 0."""
    second_phase = tuner(images, data, epochs=4, patience=2, learning_rate=1e-12)
    result = run(second_phase, data)
    assert result.history.query("phase == 2").groupby("fold")["epoch"].max().tolist() == [2, 2, 2]


def test_a_network_that_gives_no_numbers_any_more_ends_the_fold_with_what_was_best(images, data, capsys, monkeypatch):
    train_epoch = fine_tuning.FineTuner._train_epoch

    def damaging(self, fold, epoch):
        loss = train_epoch(self, fold, epoch)
        kernel = self.network.get_layer("logits").kernel
        kernel.assign(np.full(kernel.shape, np.nan))
        return loss

    monkeypatch.setattr(fine_tuning.FineTuner, "_train_epoch", damaging)
    result = run(tuner(images, data), data)
    second = result.history.query("phase == 2")
    assert second["epoch"].tolist() == [0, 1] * FOLDS and second["diverged"].tolist() == [False, True] * FOLDS
    assert second["chosen"].tolist() == [True, False] * FOLDS
    assert np.isfinite(result.logits_test).all()
    errors = capsys.readouterr().err
    assert errors.count("DIVERGED") == FOLDS
    assert "fine-tuning epoch 0: validation balanced accuracy" in errors  # no loss before the first step


def test_durations_are_said_as_a_reader_would():
    said = [fine_tuning._duration(hours) for hours in (0.001, 0.5, 3.24, 200.0)]
    assert said == ["1 min", "30 min", "3.2 h", "8 days"]
