"""Streams of images through reading, network, decoder and writing, with bounded memory."""

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
    """One image of a stream, with any data that its owner needs at the end."""

    def read(self) -> Image:
        """Reads the image, on demand, in one of several threads."""
        ...


Item = TypeVar("Item")
Result = TypeVar("Result")
JobKind = TypeVar("JobKind", bound=Job)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome(Generic[JobKind, Result]):
    """The outcome of one job: a result, or an error in reading, prediction or the last step."""

    job: JobKind
    value: Result | Exception

    def result(self) -> Result:
        """Returns the result or raises the error."""
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
    """Yields the outcomes of a stream of jobs, in order.

    Each of several threads, called lanes, runs a job through reading, ``predict`` and ``then``, which overlap with
    those of other images. On a CPU, each lane has its share of the processors, as processing whole images in parallel
    leaves fewer of them idle than parallel convolutions next to a decoder. On an accelerator, a lane takes
    :data:`GPU_BATCH` jobs at a time. Only the images of the lanes are in memory.

    Args:
        jobs: only a few are taken ahead.
        predict: returns one prediction per image.
        then: for instance writes files; called from several threads.
        device: device of the networks.
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
    """Runs a batch of jobs from beginning to end; an error in one does not affect the others."""
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
    """Returns one prediction or error per image; if a batch fails, its images are tried separately."""
    found = _attempt(lambda: predict(images)) if images else []
    if not isinstance(found, Exception):
        return list(found)
    return [found] if len(images) == 1 else [one for image in images for one in _predictions([image], predict)]


def _attempt(step: Callable[[], Result]) -> Result | Exception:
    try:
        return step()
    except Exception as error:  # any error is the outcome of its image
        return error


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    prepare_worker: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Yields ``function`` of each item, computed by threads, in the order of the items.

    At most ``2 * workers`` items are taken from ``items`` ahead of the requested result. Exceptions of ``function`` are
    raised when the result of the item is reached; closing the iterator stops the threads after the current items.

    Args:
        function: should release the GIL.
        items: iterated in the caller's thread.
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
    """Yields consecutive items, ``size`` at a time; the last batch may be smaller."""
    iterator = iter(items)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch
