"""Optimisers by name, each against its rule worked by hand for the first step."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import nn

from cytotome.contract import OptimiserName
from cytotome.training.optimisers import MOMENTUM, make_optimiser
from cytotome.training.plan import PhaseSettings

RATE, DECAY, WEIGHT, GRADIENT = 0.1, 0.5, 2.0, 3.0


def _first_step(name: OptimiserName, axes: int) -> float:
    parameter = nn.Parameter(torch.full((1,) * axes, WEIGHT))
    optimiser = make_optimiser([parameter], PhaseSettings(name, RATE, DECAY))
    (parameter * GRADIENT).sum().backward()
    optimiser.step()
    return parameter.item()


@pytest.mark.parametrize("name", get_args(OptimiserName))
def test_the_first_step_follows_the_rule(name: OptimiserName) -> None:
    total = GRADIENT + DECAY * WEIGHT
    expected = {
        "adamw": WEIGHT * (1 - RATE * DECAY) - RATE,
        "adam": WEIGHT - RATE,
        "rmsprop": WEIGHT - RATE * total / math.sqrt(0.01 * total**2),
        "sgd": WEIGHT - RATE * (1 + MOMENTUM) * total,
    }
    assert _first_step(name, 2) == pytest.approx(expected[name], rel=1e-5)


@pytest.mark.parametrize("name", get_args(OptimiserName))
def test_biases_do_not_decay(name: OptimiserName) -> None:
    expected = {"adamw": WEIGHT - RATE, "adam": WEIGHT - RATE, "rmsprop": WEIGHT - 10 * RATE}
    expected["sgd"] = WEIGHT - RATE * (1 + MOMENTUM) * GRADIENT
    assert _first_step(name, 1) == pytest.approx(expected[name], rel=1e-5)
