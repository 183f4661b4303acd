"""Many images through reading, network, decoder and writing, with bounded memory."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import torch

from cytotome.inference.passes import Prediction
from cytotome.types import Image

GPU_BATCH = 8
MOST_LANES = 4


class Job(Protocol):
    """One image on its way; it carries whatever its owner wants to know of it at the end."""

    def read(self) -> Image:
        """The image, read when its turn comes, in one of several threads."""
        ...


Item = TypeVar("Item")
Result = TypeVar("Result")
JobKind = TypeVar("JobKind", bound=Job)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome(Generic[JobKind, Result]):
    """What came of one job: a result, or the error that it met in reading, prediction or the last step."""

    job: JobKind
    value: Result | Exception

    def result(self) -> Result:
        """The result; an error is raised."""
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def stream_jobs(
    jobs: Iterable[JobKind],
    predict: Callable[[Sequence[Image]], list[Prediction]],
    then: Callable[[JobKind, Prediction], Result],
    device: torch.device,
    *,
    workers: int | None = None,
) -> Iterator[Outcome[JobKind, Result]]:
    """The outcomes of a stream of jobs, in order.

    Each of several threads, the lanes, takes a job through reading, ``predict`` and ``then``, so that these overlap
    with those of other images. On a CPU each lane has its share of the processors: whole images side by side leave
    none of them waiting, as two threads on one convolution do beside a decoder. On an accelerator a lane takes
    :data:`GPU_BATCH` jobs at once. No more images are held than the lanes have at hand.

    Args:
        jobs: taken a few ahead.
        predict: one prediction per image.
        then: for instance writes files; called from several threads.
        device: of the networks.
        workers: number of lanes.
    """
    on_cpu = device.type == "cpu"
    threads = torch.get_num_threads()
    if workers is None:
        workers = min(MOST_LANES, threads) if on_cpu else min(2 * MOST_LANES, os.cpu_count() or 1)
    share = max(1, threads // workers) if on_cpu else 1
    try:
        for outcomes in map_in_order(
            lambda batch: through(batch, predict, then),
            batches(jobs, 1 if on_cpu else GPU_BATCH),
            workers=workers,
            prepare_worker=lambda: torch.set_num_threads(share),
        ):
            yield from outcomes
    finally:
        torch.set_num_threads(threads)


def through(
    batch: Sequence[JobKind],
    predict: Callable[[Sequence[Image]], list[Prediction]],
    then: Callable[[JobKind, Prediction], Result],
) -> list[Outcome[JobKind, Result]]:
    """A batch of jobs from beginning to end; whatever goes wrong with one, the others are not to suffer."""
    images = [_attempt(job.read) for job in batch]
    found = iter(_predictions([image for image in images if isinstance(image, Image)], predict))
    outcomes: list[Outcome[JobKind, Result]] = []
    for job, image in zip(batch, images, strict=True):
        prediction = next(found) if isinstance(image, Image) else image
        if isinstance(prediction, Exception):
            outcomes.append(Outcome(job, prediction))
        else:
            outcomes.append(Outcome(job, _attempt(partial(then, job, prediction))))
    return outcomes


def _predictions(
    images: Sequence[Image], predict: Callable[[Sequence[Image]], list[Prediction]]
) -> list[Prediction | Exception]:
    """One prediction or error per image; where a batch fails, its images are tried one by one."""
    found = _attempt(lambda: predict(images)) if images else []
    if not isinstance(found, Exception):
        return list(found)
    return [found] if len(images) == 1 else [one for image in images for one in _predictions([image], predict)]


def _attempt(step: Callable[[], Result]) -> Result | Exception:
    try:
        return step()
    except Exception as error:  # of whatever kind: it is the outcome of its image
        return error


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
