"""The similarity of heat maps against SciPy and against pairs taken one by one."""

import numpy as np
import pytest
from scipy import stats

from skinlesions.explain import sanity_check, similarity
from tests.helpers.explained import made_up


def test_spearman_is_that_of_scipy():
    random = np.random.default_rng(0)
    first, second = random.normal(size=(6, 4, 5)), random.normal(size=(6, 4, 5))
    second[1] = np.exp(first[1])  # another scale, the same order
    second[2] = -first[2]
    first[3] = np.maximum(first[3], 0)  # many equal cells, as in real maps
    expected = [
        stats.spearmanr(*pair).statistic for pair in zip(first.reshape(6, -1), second.reshape(6, -1), strict=True)
    ]
    np.testing.assert_allclose(similarity.spearman(first, second), expected, atol=1e-12)
    assert expected[1] == pytest.approx(1) and expected[2] == pytest.approx(-1)
    assert similarity.spearman(np.zeros((1, 3, 3)), random.normal(size=(1, 3, 3))).tolist() == [0]


def test_structure_is_compared_whatever_the_scale():
    maps = np.random.default_rng(0).uniform(size=(3, 4, 4)).astype("float32")
    np.testing.assert_allclose(similarity.ssim(maps, 1e-8 * maps, 32), 1, atol=1e-5)
    assert (similarity.ssim(maps, maps[::-1], 32)[[0, 2]] < 0.9).all()


def test_the_likeness_is_the_mean_correlation_of_all_pairs_of_maps_with_a_shape():
    maps = np.random.default_rng(0).uniform(size=(6, 4, 4)).astype("float32")
    maps[3:] = maps[:3] ** 2  # the same order of cells
    pairs = [stats.spearmanr(maps[one].ravel(), maps[two].ravel()).statistic for two in range(6) for one in range(two)]
    assert similarity.likeness(maps) == pytest.approx(np.mean(pairs))
    even = np.concatenate([maps, np.zeros((2, 4, 4)), np.ones((1, 4, 4))])
    assert similarity.likeness(even) == pytest.approx(np.mean(pairs))
    assert similarity.likeness(maps[[0, 3]]) == pytest.approx(1)
    assert np.isnan(similarity.likeness(maps[:1]))
    checked = sanity_check.sanity(made_up(lambda first: (first, first)), 16, 0.95)
    assert similarity.likeness(made_up(lambda first: (first, first)).maps[0]) == pytest.approx(
        checked.other_images["spearman"]
    )


def test_the_similarity_to_other_images_is_the_mean_over_them():
    maps = np.random.default_rng(0).uniform(size=(4, 4, 4)).astype("float32")
    found = similarity.to_other_images(maps, 16)
    for name in similarity.MEASURES:
        for image in range(4):
            rest = [other for other in range(4) if other != image]
            pairs = similarity.similarities(maps[[image] * 3], maps[rest], 16)
            assert found[name][image] == pytest.approx(pairs[name].mean())
