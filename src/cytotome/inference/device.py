"""Device and precision of a network."""

from __future__ import annotations

from typing import Literal

import torch

from cytotome._torch import has_bfloat16_units, onednn_takes_bfloat16
from cytotome.errors import ConfigError

Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "bfloat16")


def choose_device(device: str = "auto") -> torch.device:
    """Returns the device of a name; ``auto`` is the first available of CUDA, MPS and CPU.

    Raises:
        ConfigError: if the name is unknown or the device is not available.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"device: {device!r} is unknown; choose auto, cpu, cuda, cuda:1 or mps") from None
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (chosen.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(chosen.type, False):
        raise ConfigError(f"device: this machine has no {device}; choose auto or cpu")
    return chosen


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """Returns the dtype of weights and activations; ``auto`` is bfloat16 if the hardware supports it, else float32.

    Raises:
        ConfigError: if the name is unknown, or the device does not support bfloat16.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision: must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "float32":
        return torch.float32
    if precision == "auto":
        return torch.bfloat16 if _has_bfloat16_units(device) else torch.float32
    if not takes_bfloat16(device):
        raise ConfigError(f"precision: {device.type} does not support bfloat16 on this machine; choose auto or float32")
    return torch.bfloat16


def _has_bfloat16_units(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32: AVX512-BF16 or AMX on CPU, Ampere or later on CUDA.

    The units of a CPU only count if oneDNN uses them: ``ONEDNN_MAX_CPU_ISA`` may restrict its instruction set.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return has_bfloat16_units() and takes_bfloat16(device)
    return False


def takes_bfloat16(device: torch.device) -> bool:
    """Whether a network can run in bfloat16 on the device, even if it is slow."""
    if device.type == "cpu":
        return onednn_takes_bfloat16()
    return _has_bfloat16_units(device)
