import numpy as np
import pytest

from skinlesions.core.classes import CLASSES
from skinlesions.core.names import ALWAYS_NV
from skinlesions.evaluation import study
from skinlesions.figures import classification
from skinlesions.figures import comparison as draw
from tests.helpers.drawn_text import assert_legible, assert_same_files
from tests.helpers.studies import SETTINGS, described, study_of
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

FEW = SETTINGS.model_copy(update={"resamples": 40, "test_resamples": 40})
NINE = [
    "baseline_cnn",
    "efficientnet_b0",
    "efficientnet_b4",
    "inception_resnet_v2",
    "inception_v3",
    "mobilenet_v2",
    "resnet50",
    "vgg16",
    "xception",
]


@pytest.fixture(scope="module", params=["nine models", "one model", "absent and never hit classes"])
def tables(request):
    index = synthetic_index()
    if request.param == "nine models":
        models = {name: synthetic_predictions(index, 0.2 + 0.2 * k, seed=k) for k, name in enumerate(NINE)}
    elif request.param == "one model":
        models = {"vgg16": synthetic_predictions(index)}
    else:
        index = synthetic_index({"bcc": 6, "mel": 14, "nv": 30, "vasc": 1})
        models = {
            "vgg16": synthetic_predictions(index, -9, folds=3),
            "resnet50": synthetic_predictions(index, 1, 1, folds=3),
        }
    random = described("baseline_cnn", architecture="vgg16", initialisation="random")
    twins = {"baseline_cnn": random} if "baseline_cnn" in models else {}
    made = study_of(models, descriptions={name: described(name) for name in models} | twins)
    return study.tables(made, FEW)


def figures(tables):
    """What draws every figure, by name."""
    return {
        "comparison": lambda: draw.scores(tables["comparison"], 0.95),
        "forest": lambda: draw.forest(tables["comparison"], tables["folds"]),
        "differences": lambda: draw.differences(tables["differences"], 0.05),
        "confusion": lambda: classification.confusion_matrices(tables["confusion"]),
        "recalls": lambda: draw.recalls(tables["classes"]),
        "transfer": lambda: draw.transfer(tables["transfer"]),
        "claims": lambda: draw.claims(tables["claims"]),
    } | ({"ensembles": lambda: draw.ensembles(tables["ensembles"])} if "ensembles" in tables else {})


NAMES = ("comparison", "forest", "differences", "confusion", "recalls", "transfer", "claims", "ensembles")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_legible_and_always_the_same(name, tables, tmp_path):
    if name in figures(tables):
        assert_legible(figures(tables)[name]())
        assert_same_files(figures(tables)[name], tmp_path)


def test_every_model_is_named(tables):
    models = set(tables["comparison"]["model"]) - {ALWAYS_NV}
    drawn = figures(tables)
    ticks = {
        "comparison": drawn["comparison"]().axes[0].get_xticklabels(),
        "forest": drawn["forest"]().axes[0].get_yticklabels(),
        "recalls": drawn["recalls"]().axes[0].get_yticklabels(),
    }
    titles = [axes.get_title(loc="left") for axes in drawn["confusion"]().axes]
    assert models <= set(titles)
    for name in ("comparison", "forest", "recalls"):
        assert models <= {label.get_text().removesuffix(" (random weights)") for label in ticks[name]}, name


def test_bars_and_whiskers_show_the_table(tables):
    axes = draw.scores(tables["comparison"], 0.95).axes[0]
    heights = [bar.get_height() for bar in axes.containers[0]]
    assert heights == pytest.approx(list(tables["comparison"]["balanced_accuracy"]))
    segments = np.array([segment[:, 1] for segment in axes.containers[1].lines[2][0].get_segments()])
    expected = tables["comparison"][["balanced_accuracy_low", "balanced_accuracy_high"]].to_numpy()
    assert segments == pytest.approx(expected)


def test_confusion_cells_are_percentages_of_the_true_class(tables):
    axes = classification.confusion_matrices(tables["confusion"]).axes[0]
    first = tables["confusion"].head(49)
    shares = 100 * first["share"].to_numpy().reshape(7, 7)
    assert axes.images[0].get_array().filled(np.nan) == pytest.approx(shares, nan_ok=True)
    assert len(axes.texts) == (shares >= 0.5).sum()
    assert [label.get_text() for label in axes.get_xticklabels()] == list(CLASSES)
