"""Ordered maps over threads: one whose memory does not grow with the number of items, and one for heavy arithmetic."""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

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


def computed(function: Callable[[Item], Result], items: Collection[Item]) -> list[Result]:
    """`function` of every item, in their order, with one thread for each processor and none of NumPy's own beside them.

    So that the last digit of a matrix product does not hang on the number of processors. NumPy lets other threads go on
    while it computes; what is mostly Python gains nothing.
    """
    with threadpool_limits(limits=1), Parallel(n_jobs=THREADS, prefer="threads") as pool:
        results: list[Result] = pool(delayed(function)(item) for item in items)
        return results
