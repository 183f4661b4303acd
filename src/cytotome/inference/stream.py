"""Ordered parallel map over a stream, with bounded memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    prepare_worker: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """``function`` of each item, computed by threads, in the order of the items.

    No more than ``2 * workers`` items are taken from ``items`` ahead of the result that is asked for. What ``function``
    raises is raised at its item's turn; closing the iterator ends the threads after the items at hand.

    Args:
        function: releases the GIL where its time goes.
        items: read in the caller's thread.
        workers: number of threads.
        prepare_worker: called once in each thread.
    """
    iterator = iter(items)
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, "cytotome", initializer=prepare_worker)
    try:
        for item in itertools.islice(iterator, 2 * workers):
            waiting.append(pool.submit(function, item))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in itertools.islice(iterator, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def batches(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Consecutive items, ``size`` at a time, the last ones fewer."""
    iterator = iter(items)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch
