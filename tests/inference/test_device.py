"""Devices and precisions are chosen by what the machine has, and refused by name."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from cytotome.errors import ConfigError
from cytotome.inference.device import choose_device, choose_precision, takes_bfloat16

CPU = torch.device("cpu")


def test_a_device_is_taken_by_name() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else choose_device("auto").type)


@pytest.mark.parametrize("name", ["abacus", "cpu,gpu"])
def test_an_unknown_device(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device: '{name}' is unknown; choose auto"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda:99", "meta"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no {name}; choose auto or cpu"):
        choose_device(name)


def test_auto_is_a_precision_that_the_processor_takes() -> None:
    assert choose_precision("float32", CPU) == torch.float32
    if takes_bfloat16(CPU):
        assert choose_precision("auto", CPU) in {torch.float32, torch.bfloat16}
        assert choose_precision("bfloat16", CPU) == torch.bfloat16
    else:
        assert choose_precision("auto", CPU) == torch.float32
        with pytest.raises(ConfigError, match="cpu does not support bfloat16 on this machine; choose auto or float32"):
            choose_precision("bfloat16", CPU)
    assert choose_precision("auto", torch.device("mps")) == torch.float32


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="lowers the instruction set of x86")
def test_a_lowered_instruction_set_is_one_without_bfloat16() -> None:
    """Also on a processor that has more: what oneDNN may not use counts as absent."""
    script = """
import torch
from cytotome.errors import ConfigError
from cytotome.inference.device import choose_precision
print(choose_precision("auto", torch.device("cpu")))
try:
    choose_precision("bfloat16", torch.device("cpu"))
except ConfigError as error:
    print(error)
"""
    lowered = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    done = subprocess.run([sys.executable, "-c", script], env=lowered, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "torch.float32",
        "precision: cpu does not support bfloat16 on this machine; choose auto or float32",
    ]


def test_a_precision_that_is_unknown_or_missing() -> None:
    with pytest.raises(ConfigError, match="must be one of auto, float32, bfloat16, got 'float8'"):
        choose_precision("float8", CPU)
    with pytest.raises(ConfigError, match="mps does not support bfloat16"):
        choose_precision("bfloat16", torch.device("mps"))
