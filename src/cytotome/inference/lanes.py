"""Whole images side by side: how many threads go through reading, network, decoding and writing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from cytotome.inference.stream import batches, map_in_order

Item = TypeVar("Item")
Result = TypeVar("Result")

GPU_BATCH = 8
MOST_LANES = 4


def process_in_lanes(
    process: Callable[[Sequence[Item]], Sequence[Result]],
    items: Iterable[Item],
    device: torch.device,
    *,
    workers: int | None = None,
) -> Iterator[Result]:
    """``process`` of a stream of items, a batch at a time in one of several threads, in the order of the items.

    On a CPU a batch is one item and each thread has its share of the processors: whole images side by side leave none
    of them waiting, as two threads on one convolution do beside a decoder.

    Args:
        process: gives a result for each item of a batch.
        items: taken a few ahead.
        device: of the networks.
        workers: number of threads.
    """
    on_cpu = device.type == "cpu"
    threads = torch.get_num_threads()
    if workers is None:
        workers = min(MOST_LANES, threads) if on_cpu else min(2 * MOST_LANES, os.cpu_count() or 1)
    share = max(1, threads // workers) if on_cpu else 1
    try:
        for results in map_in_order(
            process,
            batches(items, 1 if on_cpu else GPU_BATCH),
            workers=workers,
            prepare_worker=lambda: torch.set_num_threads(share),
        ):
            yield from results
    finally:
        torch.set_num_threads(threads)
