import numpy as np
import pandas as pd
import pytest

from skinlesions.core.classes import CLASSES
from skinlesions.data import exploration
from skinlesions.figures import exploration as draw
from tests.helpers.drawn_text import assert_legible, assert_same_files


@pytest.fixture
def index():
    """60 lesions of two images; class vasc is absent."""
    random = np.random.default_rng(0)
    dx = np.repeat([CLASSES[number % 6] for number in range(60)], 2)
    return pd.DataFrame(
        {
            "image_id": [f"image_{row:03}" for row in range(120)],
            "lesion_id": np.repeat([f"lesion_{row:02}" for row in range(60)], 2),
            "dx": dx,
            "dx_type": np.where(dx == "nv", "follow_up", "histo"),
            "age": np.where(random.random(120) < 0.1, np.nan, random.integers(0, 18, 120) * 5.0),
            "sex": random.choice(["female", "male", "unknown"], 120),
            "localization": random.choice(["back", "face", "unknown"], 120),
        }
    )


@pytest.fixture
def statistics():
    values = np.random.default_rng(0).uniform(20, 200, (120, 6))
    return pd.DataFrame(values, columns=list(exploration.STATISTICS))


@pytest.fixture
def every_figure(index, statistics):
    """Functions that draw every figure of notebook 01, by name."""
    images = np.random.default_rng(0).integers(0, 256, (120, 24, 24, 3), dtype=np.uint8)
    ages, counts = exploration.age_counts(index), exploration.class_counts(index)
    return {
        "class_counts": lambda: draw.class_counts(counts),
        "images_per_lesion": lambda: draw.images_per_lesion(
            exploration.lesion_sizes(index), exploration.lesion_mates(index, 0.2)
        ),
        "age_by_class": lambda: draw.age_by_class(ages, exploration.age_summary(index)),
        "sex_by_class": lambda: draw.sex_by_class(exploration.sex_counts(index)),
        "confirmation_by_class": lambda: draw.confirmation_by_class(exploration.confirmation_counts(index)),
        "sites_by_class": lambda: draw.sites_by_class(exploration.counts_by_class(index, "localization")),
        "color_by_class": lambda: draw.color_by_class(statistics, index["dx"]),
        "redness_by_confirmation": lambda: draw.redness_by_confirmation(statistics, index),
        "mosaic": lambda: draw.mosaic(images, exploration.mosaic_positions(index, 4, seed=0)),
    }


@pytest.mark.filterwarnings("error")
def test_every_figure_is_legible_and_always_the_same(every_figure, tmp_path):
    for name, figure in every_figure.items():
        assert_legible(figure())
        assert_same_files(figure, tmp_path / name)


def test_bars_have_the_lengths_of_the_counts(index):
    counts = exploration.class_counts(index)
    images, lesions = draw.class_counts(counts).axes[0].containers[:2]
    ordered = counts.drop("all").sort_values("images", kind="stable")
    assert [bar.get_width() for bar in images] == ordered["images"].tolist()
    assert [bar.get_width() for bar in lesions] == ordered["lesions"].tolist()


def test_shares_fill_the_bar_of_every_class_that_has_images(index):
    axes = draw.sex_by_class(exploration.sex_counts(index)).axes[0]
    lengths = np.sum([[bar.get_width() for bar in part] for part in axes.containers], axis=0)
    assert lengths == pytest.approx([0, 100, 100, 100, 100, 100, 100])  # vasc, which has none, is lowest


def test_labels_say_how_many_images_there_are(index):
    labels = [text.get_text() for text in draw.sex_by_class(exploration.sex_counts(index)).axes[0].get_yticklabels()]
    assert labels == [f"{name} (n = {20 if name != 'vasc' else 0})" for name in reversed(CLASSES)]


def test_mosaic_puts_every_picture_in_its_place():
    levels = np.array([12, 100, 252, 36], dtype=np.uint8)  # all in the middle of a colour step
    images = np.broadcast_to(levels[:, None, None, None], (4, 30, 30, 3))
    canvas = draw.mosaic(images, {"mel": [2, 0], "nv": [3]}).axes[0].images[0].get_array()
    side, pitch = draw.THUMBNAIL, draw.THUMBNAIL + 2
    assert canvas.shape == (2 * pitch - 2, 2 * pitch - 2, 3)
    assert (canvas[:side, :side] == 252).all()
    assert (canvas[:side, pitch:] == 12).all()
    assert (canvas[pitch:, :side] == 36).all()
    assert (canvas[pitch:, pitch:] == 255).all()  # nothing to show: paper
