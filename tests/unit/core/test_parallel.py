from collections.abc import Iterator

import pytest

from skinlesions.core.parallel import in_order


def test_results_come_in_the_order_of_the_items():
    assert list(in_order(lambda item: item**2, range(1000))) == [item**2 for item in range(1000)]
    assert list(in_order(str, [])) == []


def test_only_a_few_items_are_taken_ahead():
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100_000):
            taken.append(item)
            yield item

    results = in_order(str, items())
    assert next(results) == "0"
    assert len(taken) < 10_000
    results.close()


def test_an_error_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda item: 1 / item, [1, 0]))
