"""The discriminator: its shape, its clipped weights, its errors."""

from __future__ import annotations

import pytest
import torch

from cytotome.errors import ConfigError
from cytotome.families.unetr.discriminator import Discriminator, clip_weights, halvings


def test_the_teams_has_five_convolutions_and_a_weight_for_each_place() -> None:
    net = Discriminator(4, 8, size=(512, 704))
    widths = [layer.out_channels for layer in net.body if isinstance(layer, torch.nn.Conv2d)]
    assert widths == [8, 16, 32, 64, 128]
    assert net.value.in_features == 128 * 16 * 22
    assert halvings((31, 200)) == 0


def test_images_of_a_batch_do_not_see_each_other_and_any_size_goes() -> None:
    torch.manual_seed(0)
    net = Discriminator(3, 4, levels=3)
    pairs = torch.randn(4, 3, 48, 72)
    values = net(pairs)
    assert values.shape == (4,)
    torch.testing.assert_close(net(pairs[2:3]), values[2:3])
    assert net(torch.randn(1, 3, 16, 8)).shape == (1,)


def test_weights_are_clipped() -> None:
    net = Discriminator(3, 4, levels=2)
    before = torch.cat([p.detach().flatten() for p in net.parameters()])
    clip_weights(net, 0.05)
    after = torch.cat([p.detach().flatten() for p in net.parameters()])
    assert torch.equal(after, before.clamp(-0.05, 0.05))
    assert (before.abs() > 0.05).any()


def test_what_is_missing_or_of_another_size_is_told() -> None:
    with pytest.raises(ConfigError, match="give levels, or the size of its input"):
        Discriminator(3, 4)
    with pytest.raises(ConfigError, match=r"made for crops of 64x64, got 32x64; set sampling\.crop"):
        Discriminator(3, 4, size=(64, 64))(torch.zeros(1, 3, 32, 64))
