"""Results come in order, with little taken ahead, and errors at their turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from cytotome.inference.stream import batches, map_in_order


def test_the_order_is_that_of_the_items() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item * item

    assert list(map_in_order(slow_first, range(20), workers=3)) == [item * item for item in range(20)]
    assert list(map_in_order(slow_first, [], workers=3)) == []


def test_few_items_are_taken_ahead() -> None:
    taken = 0

    def count() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    for asked, result in enumerate(map_in_order(lambda item: item, count(), workers=2), start=1):
        assert result == asked - 1
        assert taken <= asked + 4


def test_an_error_is_raised_at_its_turn() -> None:
    stream = map_in_order(lambda item: 6 // item, [3, 2, 0, 1], workers=2)
    assert [next(stream), next(stream)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_closing_ends_the_threads_and_the_work() -> None:
    done: list[int] = []

    def work(item: int) -> int:
        time.sleep(0.01)
        done.append(item)
        return item

    before = threading.active_count()
    stream = map_in_order(work, range(1000), workers=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(done) <= 8


def test_each_thread_is_prepared_once() -> None:
    prepared: list[int] = []
    names = set(
        map_in_order(
            lambda item: threading.get_ident(),
            range(30),
            workers=3,
            prepare_worker=lambda: prepared.append(threading.get_ident()),
        )
    )
    assert len(prepared) == len(set(prepared)) <= 3
    assert names <= set(prepared)


def test_batches_hold_consecutive_items() -> None:
    assert list(batches(range(7), 3)) == [(0, 1, 2), (3, 4, 5), (6,)]
