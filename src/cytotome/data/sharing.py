"""Shared memory: what worker processes hand batches over in, and whether there is enough of it.

Containers get 64 MB of it by default, less than the batches in flight of most recipes. A queue of
``multiprocessing`` moves tensors there in a thread of the worker, where an error is printed and the batch is lost, so
that the training would wait for it for ever. Batches are therefore moved in the worker's own thread, whose errors
reach the training.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from cytotome.contract import PER_INSTANCE
from cytotome.errors import TrainingError

FOLDER = Path("/dev/shm")
"""Where Linux keeps shared memory; other systems have no such folder and no such limit."""
PREFETCH = 4
"""Batches that each worker makes ahead."""
IN_USE = 2
"""Batches that the training itself holds: the one of this step and the next."""
MARGIN = 2
"""How much larger the targets of each instance may be in other batches, whose crops hold more cells."""


def share(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Moves a batch to shared memory.

    Raises:
        TrainingError: where there is not enough of it.
    """
    lacking = TrainingError(
        f"no shared memory is left for a batch of {batch_bytes(batch) / 1e6:.0f} MB ({FOLDER} is full); enlarge it "
        "(docker run --shm-size=2g), or set sampling.workers=0"
    )
    free = free_bytes()
    if free is not None and free < batch_bytes(batch):  # torch 2.8 does not check, and is killed by a bus error
        raise lacking
    try:
        return {name: tensor.share_memory_() for name, tensor in batch.items()}  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise lacking from error


def batch_bytes(batch: Mapping[str, torch.Tensor]) -> int:
    """Bytes of all tensors of a batch."""
    return sum(tensor.nbytes for tensor in batch.values())


def bytes_in_flight(batch: Mapping[str, torch.Tensor], workers: int) -> int:
    """Shared memory that ``workers`` processes need for batches such as this one."""
    ragged = batch_bytes({name: tensor for name, tensor in batch.items() if name.startswith(PER_INSTANCE)})
    return (batch_bytes(batch) + (MARGIN - 1) * ragged) * (workers * PREFETCH + IN_USE)


def free_bytes(folder: Path = FOLDER) -> int | None:
    """Shared memory that is free; None where the system sets no limit of its own."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
