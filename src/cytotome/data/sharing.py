"""Worker processes: how they are started, and the shared memory for their batches.

Containers get 64 MB of shared memory by default, less than the batches in flight of most recipes. A queue of
``multiprocessing`` moves tensors there in a background thread of the worker, where an error is printed and the batch is
lost, so that training would wait for it forever. Batches are therefore moved in the main thread of the worker, whose
errors reach the training.
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
"""Folder of shared memory on Linux; other systems have no such folder and no such limit."""
PREFETCH = 4
"""Number of batches that each worker prepares ahead."""
IN_USE = 2
"""Number of batches in use by the training: that of this step and the next."""
MARGIN = 2
"""Factor by which per-instance targets may be larger in other batches, with more cells."""


def start_method() -> str:
    """Start method of worker processes: on Linux copies of this process, elsewhere the default of Python.

    Copies need neither ``if __name__ == "__main__":`` in the user's script nor a dataset class that can be imported.
    They are no longer the default of Python 3.14 on Linux.
    """
    return "fork" if sys.platform == "linux" else multiprocessing.get_context().get_start_method()


def why_not_sendable(value: Any) -> str:
    """Returns why a value cannot be sent to workers that are not copies of this process, in one line; empty if it can.

    Classes defined in a notebook or an interactive session cannot be imported elsewhere.
    """
    if start_method() == "fork":
        return ""
    try:
        sent = pickle.dumps(value)
    except Exception as error:  # any error of the user's dataset
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
    if free is not None and free < batch_bytes(batch):  # torch 2.8 does not check this and dies from a bus error
        raise lacking
    try:
        return {name: tensor.share_memory_() for name, tensor in batch.items()}  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise lacking from error


def batch_bytes(batch: Mapping[str, torch.Tensor]) -> int:
    """Total size of the tensors of a batch in bytes."""
    return sum(tensor.nbytes for tensor in batch.values())


def bytes_in_flight(batch: Mapping[str, torch.Tensor], workers: int) -> int:
    """Shared memory in bytes that ``workers`` processes need for batches like this one."""
    ragged = batch_bytes({name: tensor for name, tensor in batch.items() if name.startswith(PER_INSTANCE)})
    return (batch_bytes(batch) + (MARGIN - 1) * ragged) * (workers * PREFETCH + IN_USE)


def free_bytes(folder: Path = FOLDER) -> int | None:
    """Free shared memory in bytes; None if the system does not limit it."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
