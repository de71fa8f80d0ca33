"""An ordered map over threads whose memory does not grow with the number of items."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from joblib import Parallel, delayed

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items in memory at a time. joblib's own generator goes on whether or not anybody asks for its results: with a slow
# reader all of them would pile up.
BATCH = 64
THREADS = -1  # as many as there are processors


def in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function` of every item, in their order, computed in as many threads as there are processors.

    Whatever `function` or `items` raise reaches the caller as it is.
    """
    iterator = iter(items)
    with Parallel(n_jobs=THREADS, prefer="threads") as pool:
        while results := pool(map(delayed(function), islice(iterator, BATCH))):
            yield from results
