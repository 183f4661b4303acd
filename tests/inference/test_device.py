"""Devices and precisions are chosen by what the machine has, and refused by name."""

from __future__ import annotations

import pytest
import torch

from cytotome.errors import ConfigError
from cytotome.inference.device import choose_device, choose_precision

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


def test_auto_follows_the_processor() -> None:
    units = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert choose_precision("auto", CPU) == (torch.bfloat16 if units else torch.float32)
    assert choose_precision("float32", CPU) == torch.float32
    assert choose_precision("auto", torch.device("mps")) == torch.float32


def test_a_precision_that_is_unknown_or_missing() -> None:
    with pytest.raises(ConfigError, match="must be one of auto, float32, bfloat16, got 'float8'"):
        choose_precision("float8", CPU)
    with pytest.raises(ConfigError, match="mps does not take bfloat16"):
        choose_precision("bfloat16", torch.device("mps"))
