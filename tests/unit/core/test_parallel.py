import time
from collections.abc import Iterator

import pytest

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
