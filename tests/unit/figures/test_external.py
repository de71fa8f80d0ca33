import numpy as np
import pandas as pd
import pytest

from skinlesions.figures import external as draw
from tests.helpers.drawn_text import assert_legible, assert_same_files


@pytest.mark.parametrize("models", [["vgg16"], ["ensemble", "resnet50", "vgg16"]])
def test_every_result_is_where_its_table_has_it(models, tmp_path):
    generator = np.random.default_rng(0)
    middle = generator.uniform(0.4, 0.8, (len(models), 2))
    table = pd.DataFrame({"model": models, "out_of_fold": middle[:, 0], "external": middle[:, 1]})
    table = table.assign(training="frozen features", initialisation="ImageNet")
    table.loc[len(models) - 1, "initialisation"] = "random"
    for name, reach in (("out_of_fold", 0.02), ("external", 0.1)):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - reach, table[name] + 2 * reach
    folds = pd.DataFrame({"model": "vgg16", "fold": range(5), "balanced_accuracy": generator.uniform(0.4, 0.8, 5)})
    axes = draw.against(table, folds).axes[0]
    names = [*models[:-1], f"{models[-1]} (random weights)"]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    drawn = {collection.get_segments()[0][0][0]: collection for collection in axes.collections}
    for name in ("out_of_fold", "external"):
        segments = drawn[table[f"{name}_low"][0]].get_segments()
        assert np.array([segment[:, 0] for segment in segments]) == pytest.approx(
            table[[f"{name}_low", f"{name}_high"]].to_numpy()
        )
        assert any(np.array_equal(line.get_xdata(), table[name]) for line in axes.lines)
    assert any(np.array_equal(line.get_xdata(), folds["balanced_accuracy"]) for line in axes.lines)
    assert_legible(draw.against(table, folds))
    assert_same_files(lambda: draw.against(table, folds), tmp_path)
