"""Two photographs of one lesion under two identifiers are found; photographs of two lesions are left alone."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.transform import SimilarityTransform

from skinlesions.core import files
from skinlesions.core.errors import UserError
from skinlesions.data import duplicates, registration
from skinlesions.data.sources import drawing
from skinlesions.figures import duplicates as draw

SIZE = 240
SETTINGS = {"neighbours": 3, "min_similarity": -1.0, "min_inliers": 6, "min_correlation": 0.3}


@pytest.fixture(scope="module")
def lesions() -> np.ndarray:
    """A drawn lesion of every class, from near: uint8 [7, 240, 240, 3]."""
    random = np.random.default_rng(0)
    start = (drawing.CANVAS - SIZE) // 2
    box = (start, start, start + SIZE, start + SIZE)
    return np.stack([np.asarray(drawing.paint(look, random).crop(box)) for look in drawing.LOOKS.values()])


def photographed_again(image: np.ndarray, angle: float, zoom: float, shift: tuple[float, float]) -> np.ndarray:
    """`image` turned (degrees), shifted (pixels), zoomed about the centre, lit otherwise and compressed as JPEG."""
    turned = Image.fromarray(image).rotate(angle, Image.Resampling.BICUBIC, translate=shift)
    side = SIZE / zoom
    left = (SIZE - side) / 2
    zoomed = turned.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=(left, left, left + side, left + side))
    lit = np.clip(np.asarray(zoomed, "float32") * [1.08, 0.95, 0.9] + 8, 0, 255).astype("uint8")
    buffer = io.BytesIO()
    Image.fromarray(lit).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize(("angle", "zoom", "shift"), [(0, 1.0, (6, -9)), (-37, 1.3, (-15, 10)), (180, 1.0, (20, 20))])
def test_a_photograph_taken_again_is_registered_where_it_was_put(lesions, angle, zoom, shift):
    sure = 0
    for image in lesions[:4]:
        again = photographed_again(image, angle, zoom, shift)
        found = registration.register(registration.keypoints(image), registration.keypoints(again))
        if found is None or found.inliers < SETTINGS["min_inliers"]:
            continue
        sure += 1
        assert found.transform.scale == pytest.approx(zoom, rel=0.03)
        turned = np.exp(1j * (found.transform.rotation + np.radians(angle)))  # y points down
        assert np.angle(turned, deg=True) == pytest.approx(0, abs=2)
        assert found.transform([[0.5, 0.5]])[0] == pytest.approx(0.5 + zoom * np.array(shift) / SIZE, abs=0.01)
        assert registration.correlation(image, again, found.transform) > 0.8
    assert sure >= 3


def test_what_is_laid_on_an_image_covers_what_both_show(lesions):
    half = SimilarityTransform(translation=(0.5, 0))  # the second image is half a side further left
    moved, inside = registration.laid_on(np.roll(lesions[0], SIZE // 2, axis=1), half)
    assert inside[:, : SIZE // 2].all() and not inside[:, SIZE // 2 :].any()
    np.testing.assert_allclose(moved[:, : SIZE // 2], lesions[0][:, : SIZE // 2], atol=1e-3)


def test_pairs_of_different_lesions_are_not_registered_or_not_alike(lesions):
    keypoints = [registration.keypoints(image) for image in lesions]
    for one in range(len(lesions)):
        for other in range(one):
            found = registration.register(keypoints[one], keypoints[other])
            assert found is None or found.inliers < SETTINGS["min_inliers"]


def test_a_blank_image_has_no_keypoints_and_no_partner(lesions):
    blank = registration.keypoints(np.full((SIZE, SIZE, 3), 200, "uint8"))
    assert len(blank.positions) == 0
    assert registration.register(blank, registration.keypoints(lesions[0])) is None
    assert registration.correlation(lesions[0], lesions[0], SimilarityTransform(translation=(0.95, 0))) == 0


def test_similar_pairs_are_those_of_a_search_over_all(monkeypatch):
    monkeypatch.setattr(duplicates, "CHUNK", 7)
    features = np.random.default_rng(0).normal(size=(40, 12)).astype("float16")
    features[31] = features[4]
    white = duplicates.whitened(features).astype("float64")
    cosine = white @ white.T
    np.fill_diagonal(cosine, -np.inf)
    expected = {
        tuple(sorted((row, int(other))))
        for row in range(40)
        for other in np.argsort(-cosine[row])[:3]
        if cosine[row, other] >= 0.2
    }
    pairs, similarity = duplicates.similar_pairs(features, 3, 0.2)
    assert [tuple(pair) for pair in pairs.tolist()] == sorted(expected)
    np.testing.assert_allclose(similarity, cosine[pairs[:, 0], pairs[:, 1]], atol=1e-5)
    assert similarity[pairs.tolist().index([4, 31])] == pytest.approx(1, abs=1e-5)
    assert len(duplicates.similar_pairs(features, 0, 0.2)[0]) == 0
    assert len(duplicates.similar_pairs(features[:1], 3, 0.2)[0]) == 0


@pytest.fixture(scope="module")
def study(lesions, tmp_path_factory) -> tuple[pd.DataFrame, np.ndarray, Path]:
    """Index, features and images of seven lesions; 7 shows lesion 0 again, 8 lesion 4, and 9 is of lesion 5 itself."""
    again = [photographed_again(lesions[row], angle, 1.1, (8, 4)) for row, angle in ((0, 90), (4, 25), (5, -60))]
    images = tmp_path_factory.mktemp("study") / "images.npy"
    files.write_array(images, np.concatenate([lesions, again]))
    dx = [*drawing.LOOKS, "akiec", "nv", "nv"]
    lesion = [f"L{number}" for number in (*range(9), 5)]
    index = pd.DataFrame({"image_id": [f"I{row}" for row in range(10)], "lesion_id": lesion, "dx": dx})
    return index, np.random.default_rng(0).normal(size=(10, 6)).astype("float16"), images


@pytest.fixture(scope="module")
def found(study) -> pd.DataFrame:
    return duplicates.find(*study, **SETTINGS | {"neighbours": 9})


def test_the_photographs_taken_again_are_found_and_no_others(found, study):
    assert found.columns.tolist() == list(duplicates.COLUMNS)
    assert len(found) == 45  # all pairs of ten
    confirmed = found.loc[found["confirmed"], ["image_id", "other_image_id"]].to_numpy().tolist()
    assert confirmed == [["I0", "I7"], ["I4", "I8"], ["I5", "I9"]]
    across = duplicates.across_lesions(found)
    assert across[["lesion_id", "other_lesion_id"]].to_numpy().tolist() == [["L0", "L7"], ["L4", "L8"]]
    assert across[["dx", "other_dx"]].to_numpy().tolist() == [["akiec", "akiec"], ["mel", "nv"]]
    ids = found[["image_id", "other_image_id"]].to_numpy().tolist()
    assert ids == sorted(ids) and all(first < second for first, second in ids)


def test_a_second_search_finds_the_same(found, study):
    pd.testing.assert_frame_equal(duplicates.find(*study, **SETTINGS | {"neighbours": 9}), found)


def test_without_neighbours_nothing_is_searched_and_the_table_is_empty(study):
    table = duplicates.find(*study, **SETTINGS | {"neighbours": 0})
    assert table.columns.tolist() == list(duplicates.COLUMNS) and table.empty
    assert duplicates.summary(table)["confirmed"] == duplicates.summary(table)["groups"] == 0


def test_the_summary_counts_pairs_lesions_and_what_could_be_wrong(found):
    counted = duplicates.summary(found)
    control = int((found["dx"] != found["other_dx"]).sum())
    expected = {"compared": 45, "different_lesions": 44, "confirmed": 2, "lesions_joined": 4, "groups": 2}
    expected |= {"same_lesion": 1, "same_lesion_share": 1.0, "different_diagnoses": control, "wrong": 1}
    assert expected.items() <= counted.items()
    none = found[(found["dx"] != found["other_dx"]) & ~found["confirmed"]]
    assert duplicates.summary(none)["one_in"] == int(1 / (1 - 0.05 ** (1 / len(none))))  # exact


@pytest.mark.parametrize("what", ["features", "images"])
def test_features_or_images_of_another_run_are_refused(study, what, tmp_path):
    index, features, images = study
    if what == "features":
        features = features[:-1]
    else:
        pixels = files.read_array(images)[:-1]
        images = tmp_path / "images.npy"
        files.write_array(images, pixels)
    with pytest.raises(UserError, match=r"there are 9 .* and 10 rows in the index; .*dvc repro split"):
        duplicates.find(index, features, images, **SETTINGS)


def test_the_figure_shows_the_confirmed_pairs_least_alike_first(found, study):
    index, _, images = study
    figure = draw.pairs(found, files.read_array(images, memory_map=True), index)
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    across = duplicates.across_lesions(found).sort_values("correlation")
    expected = [
        f"{' / '.join(dict.fromkeys(pair))}, correlation {value:.2f}"
        for *pair, value in across[["dx", "other_dx", "correlation"]].itertuples(index=False)
    ]
    assert titles == expected
    assert len([axes for axes in draw.pairs(found, files.read_array(images), index, most=1).axes if axes.images]) == 1
    empty = draw.pairs(found[:0], files.read_array(images), index)
    assert "no pair" in empty.axes[0].texts[0].get_text()
