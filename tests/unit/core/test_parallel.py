import time
from collections.abc import Iterator

import numpy as np  # noqa: F401  loads its libraries
import pytest
from threadpoolctl import threadpool_info

from skinlesions.core import parallel
from skinlesions.core.errors import UserError
from skinlesions.core.parallel import in_order


def refuse_third(row: int) -> int:
    if row == 3:
        raise UserError("row 3 is faulty")
    return row


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
    time.sleep(0.2)  # time enough to run away
    assert len(taken) <= parallel.BATCH
    results.close()


def test_errors_of_the_work_and_of_the_items_reach_the_caller():
    with pytest.raises(UserError, match="row 3"):
        list(in_order(refuse_third, range(10)))
    with pytest.raises(UserError, match="row 3"):
        list(in_order(str, map(refuse_third, range(10))))


def test_what_is_computed_comes_in_the_order_of_the_items_and_errors_as_they_are():
    assert parallel.computed(lambda item: item**2, range(100)) == [item**2 for item in range(100)]
    assert parallel.computed(str, []) == []
    with pytest.raises(UserError, match="row 3 is faulty"):
        parallel.computed(refuse_third, range(9))


def test_numpy_has_no_threads_of_its_own_beside_those_of_the_computation():
    def most(_: int) -> int:
        return max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")

    before = most(0)
    assert set(parallel.computed(most, range(4))) == {1}
    assert most(0) == before
