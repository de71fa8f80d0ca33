import matplotlib.pyplot as plt
import pytest

from skinlesions.figures import style


@pytest.fixture(autouse=True)
def _style():
    """The project's style for every test, and no figure left open after it."""
    style.use_style()
    yield
    plt.close("all")
