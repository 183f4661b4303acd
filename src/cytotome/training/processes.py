"""Devices and processes of a run, by Lightning Fabric."""

from __future__ import annotations

import importlib
import pickle
import sys
from functools import partial
from typing import TYPE_CHECKING

import torch
from lightning.fabric import Fabric
from rich.console import Console
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException

from cytotome.errors import ConfigError, CytotomeError, TrainingError, one_line
from cytotome.training.fit import Job, fit
from cytotome.training.stopping import StopSignals

if TYPE_CHECKING:
    from cytotome.training.plan import Plan


def check_devices(devices: int, device: torch.device, plan: Plan) -> None:
    """Raises ConfigError if there are not enough devices, or if they cannot share the batches."""
    if devices < 1:
        raise ConfigError(f"devices: expected 1 or more, got {devices}")
    if devices == 1:
        return
    if device.type == "mps" or device.index is not None:
        raise ConfigError(f"devices: {device} is a single device; choose --device cpu or cuda for {devices}")
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise ConfigError(f"devices: this machine has {torch.cuda.device_count()} GPUs, got {devices}")
    for stage, batch in zip(plan.stages, plan.batches, strict=True):
        if batch % devices or batch // devices < len(stage.streams):
            raise ConfigError(
                f"devices: {devices} cannot share the {batch} crops of a batch of the stage {stage.name}; set "
                f"sampling.batch={-(-max(batch, len(stage.streams) * devices) // devices) * devices}"
            )


def launch(job: Job, *, resume: bool, device: torch.device, devices: int, bfloat16: bool, console: Console) -> None:
    """Runs :func:`fit` on one device in this process, or on several, with one process each.

    Args:
        job: the run.
        resume: whether to resume from its checkpoint.
        device: the device, or the kind of device if there are several.
        devices: number of devices.
        bfloat16: use bfloat16 where it is safe, else float32.
        console: stream for messages; standard error if there are several processes.

    Raises:
        CytotomeError: as raised by :func:`fit`, or if a process was ended from outside.
    """
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index or 0] if device.type == "cuda" and devices == 1 else devices,
        strategy="auto" if devices == 1 else "ddp_spawn",
        precision="bf16-mixed" if bfloat16 else "32-true",
    )
    if devices == 1:
        fabric.launch(partial(fit, job=job, resume=resume, console=console))
        return
    _check_sendable(job)
    with StopSignals(forward=True) as stop:
        try:
            fabric.launch(partial(fit, job=job, resume=resume, console=None))  # its own arguments it would search
        except ProcessException as error:
            if stop.requested:
                raise KeyboardInterrupt from None
            raise own_error(error) or error from None


def _check_sendable(job: Job) -> None:
    if hasattr(sys, "ps1"):
        raise ConfigError("devices: a notebook cannot start several; use a script, or cytotome train")
    try:
        pickle.dumps(job)
    except Exception as error:  # whatever a dataset raises
        raise ConfigError(
            f"devices: the data cannot be sent to other processes ({one_line(error)}); give datasets by their paths"
        ) from error


def own_error(error: ProcessException) -> CytotomeError | None:
    """What ended a process, if it is an error of ours, by the last line of its traceback, or a signal."""
    if isinstance(error, ProcessExitedException):
        if error.signal_name is None:
            return TrainingError(f"a training process ended with code {error.exit_code}; its own message is above")
        return TrainingError(
            "a training process was ended from outside, most likely because memory ran out; lower sampling.batch or "
            "--devices; the next run resumes from the last checkpoint"
        )
    kind, _, message = str(error).strip().splitlines()[-1].partition(": ")
    module, _, name = kind.rpartition(".")
    if module != CytotomeError.__module__:
        return None
    made = getattr(importlib.import_module(module), name)(message)
    assert isinstance(made, CytotomeError)
    return made
