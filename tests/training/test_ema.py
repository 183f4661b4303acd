"""The moving average of weights against a plain loop."""

from __future__ import annotations

import torch
from torch import nn

from cytotome.training.ema import Ema


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def disturb(net: nn.Module) -> None:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter))
        net(torch.randn(2, 1, 8, 8))


def test_the_average_is_the_recursion_written_out() -> None:
    net = small()
    average = Ema(net, 0.5)
    expected = {name: value.clone() for name, value in net.state_dict().items()}
    for update in range(12):
        disturb(net)
        average.update_parameters(net)
        decay = min(0.5, (1 + update) / (10 + update))
        for name, value in net.state_dict().items():
            expected[name] = (
                decay * expected[name] + (1 - decay) * value if value.is_floating_point() else value.clone()
            )
    for name, value in average.weights().items():
        torch.testing.assert_close(value, expected[name])
    assert int(average.weights()["1.num_batches_tracked"]) == 12


def test_without_decay_the_average_is_the_latest() -> None:
    net = small()
    average = Ema(net, 0.0)
    disturb(net)
    average.update_parameters(net)
    for name, value in average.weights().items():
        assert torch.equal(value, net.state_dict()[name])
