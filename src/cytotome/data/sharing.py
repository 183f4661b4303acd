"""Worker processes: how they start, and the shared memory in which they hand batches over.

Containers get 64 MB of it by default, less than the batches in flight of most recipes. A queue of
``multiprocessing`` moves tensors there in a thread of the worker, where an error is printed and the batch is lost, so
that the training would wait for it for ever. Batches are therefore moved in the worker's own thread, whose errors
reach the training.
"""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def start_method() -> str:
    """How worker processes start: on Linux as copies of this process, elsewhere as Python does by default.

    Copies need neither ``if __name__ == "__main__":`` in the user's script nor a dataset class that can be imported.
    Python 3.14 no longer makes them by default on Linux.
    """
    return "fork" if sys.platform == "linux" else multiprocessing.get_context().get_start_method()


def why_not_sendable(value: Any) -> str:
    """Why worker processes that are not copies of this one cannot be given a value, in one line; empty if they can.

    A class of a notebook or of an interactive session cannot be imported elsewhere.
    """
    if start_method() == "fork":
        return ""
    try:
        sent = pickle.dumps(value)
    except Exception as error:  # whatever the user's dataset raises
        return f"worker processes cannot be given the dataset ({error})"
    if b"__main__" in sent and not hasattr(sys.modules["__main__"], "__file__"):
        return "worker processes cannot import a dataset class that is defined in a notebook or interactively"
    return ""


def share(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Moves a batch to shared memory.

    Raises:
        TrainingError: if there is not enough of it.
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
    """Shared memory that is free; None if the system sets no limit of its own."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
