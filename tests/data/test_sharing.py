"""Batches reach the training through shared memory, and a lack of it is an error in place of a run that waits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import cytotome
from cytotome.data import sharing
from cytotome.data.sharing import batch_bytes, bytes_in_flight, free_bytes, share, why_not_sendable

SMALL = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=2m tmpfs /dev/shm && exec "$@"', "sh"]
"""Runs a command that has 2 MB of shared memory; needs a Linux that lets this user mount."""
READ_ALL = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path({tests!r})))
from test_sampling import CropSettings, Source, Squares, crop_loader, crops_of
from cytotome.data.sampling import why_no_workers
from cytotome.errors import TrainingError

def main():
    crops = crops_of(Source(Squares(["square"])), settings=CropSettings(size=(512, 512), batch=2))
    print(why_no_workers(crops, 0, 1) or None)
    print(why_no_workers(crops, 0, 0) or None)
    batches = iter(crop_loader(crops, workers=1))
    try:
        kept = [next(batches) for _ in range(4)]
    except TrainingError as error:
        print("TrainingError", str(error).splitlines()[-1])

main()
"""


def test_bytes_in_flight_are_those_made_ahead_and_those_in_use() -> None:
    batch = {"image": torch.zeros(8, 1, 10, 10), "labelled": torch.zeros(8, dtype=torch.bool)}
    assert batch_bytes(batch) == 8 * 100 * 4 + 8
    assert bytes_in_flight(batch, workers=3) == 3208 * (3 * 4 + 2)
    masks = {"instance.masks": torch.zeros(5, 10, 10)}
    assert bytes_in_flight(batch | masks, workers=3) == (3208 + 2 * 5 * 100 * 4) * (3 * 4 + 2)


def test_shared_memory_is_measured_where_the_system_limits_it(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "missing") is None
    free = free_bytes(tmp_path)
    assert free is not None
    assert 0 < free <= shutil.disk_usage(tmp_path).total


def test_a_shared_batch_holds_the_same_values() -> None:
    batch = {"image": torch.arange(12.0).reshape(3, 4), "instance.boxes": torch.zeros(0, 4)}
    shared = share({name: tensor.clone() for name, tensor in batch.items()})
    assert all(tensor.is_shared() for tensor in shared.values())
    assert all(torch.equal(shared[name], tensor) for name, tensor in batch.items())


PLAIN_SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_sampling import CropSettings, Source, Squares, crop_loader, crops_of

class Mine(Squares):
    pass

settings = CropSettings(size=(64, 64), batch=2)
print(next(iter(crop_loader(crops_of(Source(Mine(["square"])), settings=settings), workers=1)))["image"].shape)
"""


def run(code: str) -> str:
    """What a program prints that is typed into Python, so that no process can import it."""
    source = Path(cytotome.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])}
    code = code.format(tests=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-"], input=code, capture_output=True, text=True, env=environment, timeout=240, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="workers are copies of the process on Linux only")
def test_workers_take_a_dataset_of_a_script_without_a_main_guard() -> None:
    assert run(PLAIN_SCRIPT) == "torch.Size([2, 1, 64, 64])\n"


def test_what_workers_cannot_be_given_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "start_method", lambda: "spawn")
    assert why_not_sendable({"cells": 3}) == ""
    assert why_not_sendable(lambda: 3).startswith("worker processes cannot be given the dataset (")
    local = type("Local", (), {"__module__": "__main__"})
    main = ModuleType("__main__")
    main.Local = local  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert "defined in a notebook" in why_not_sendable(local())
    main.__file__ = "script.py"
    assert why_not_sendable(local()) == ""
    monkeypatch.setattr(sharing, "start_method", lambda: "fork")
    assert why_not_sendable(lambda: 3) == ""


def _can_mount() -> bool:
    if not (sys.platform == "linux" and shutil.which("unshare") and Path("/dev/shm").is_dir()):
        return False
    return subprocess.run([*SMALL, "true"], capture_output=True, check=False).returncode == 0


def test_a_worker_without_shared_memory_raises_where_the_training_waits() -> None:
    if not _can_mount():
        pytest.skip("needs the right to mount a small /dev/shm")
    code = READ_ALL.format(tests=str(Path(__file__).parent))
    source = Path(cytotome.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])}
    run = subprocess.run(
        [*SMALL, sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=240, check=True
    )
    lacking, none, error = run.stdout.splitlines()
    # 2 crops of 512 x 512: image, valid and labels of 4 bytes a pixel, and for each crop a flag and a type.
    needed = (2 * 512 * 512 * 12 + 2 * 9) * (4 + 2)
    assert f"needs {needed / 1e6:.0f} MB of shared memory and 2 MB are free" in lacking
    assert none == "None"
    assert error.startswith("TrainingError")
    assert "no shared memory is left for a batch of 6 MB" in error
    assert "Traceback" not in run.stderr
