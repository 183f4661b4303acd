"""Maps of a turned image, turned back, are the maps of the image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from cytotome.errors import ConfigError
from cytotome.inference.tta import SYMMETRIES, Symmetry, restore, transform, with_symmetries
from cytotome.types import OutputSpec

SCALAR, VECTOR = OutputSpec("s", 1), OutputSpec("v", 2, "vector")


def slopes(images: Tensor) -> Tensor:
    """Central differences along y and x of periodic images ``(B, 1, H, W)``."""
    return torch.cat([(images.roll(-1, axis) - images.roll(1, axis)) / 2 for axis in (2, 3)], dim=1)


def rays(images: Tensor, number: int) -> Tensor:
    """Steps from each pixel until the mask is left, along 4 or 8 rays, by brute force."""
    mask = np.pad(images[0, 0].numpy() > 0, 1)
    found = np.zeros((number, *mask.shape), np.float32)
    for k in range(number):
        dy, dx = round(np.sin(2 * np.pi * k / number)), round(np.cos(2 * np.pi * k / number))
        for y, x in np.argwhere(mask):
            steps = 0
            while mask[y + steps * dy, x + steps * dx]:
                steps += 1
            found[k, y, x] = steps
    return torch.from_numpy(found)[None, :, 1:-1, 1:-1]


def test_there_are_eight_symmetries() -> None:
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert len({tuple(transform(image, symmetry).flatten().tolist()) for symmetry in SYMMETRIES}) == 8
    assert torch.equal(transform(image, SYMMETRIES[0]), image)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_scalars_and_vectors_come_back(symmetry: Symmetry) -> None:
    image = torch.randn(2, 1, 5, 8)
    turned = transform(image, symmetry)
    assert torch.equal(restore(turned, symmetry, SCALAR), image)
    torch.testing.assert_close(restore(slopes(turned), symmetry, VECTOR), slopes(image))


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("number", [4, 8])
def test_rays_come_back(symmetry: Symmetry, number: int) -> None:
    mask = torch.zeros(1, 1, 11, 9)
    mask[0, 0, 2:9, 3:8] = 1
    mask[0, 0, 5:7, 1:4] = 1
    expected = rays(mask, number)
    assert len({tuple(plane.flatten().tolist()) for plane in expected[0]}) == number
    turned = rays(transform(mask, symmetry), number)
    assert torch.equal(restore(turned, symmetry, OutputSpec("r", number, "rays")), expected)


def test_equivariant_maps_are_unchanged_and_others_averaged() -> None:
    ramp = torch.linspace(0, 1, 6).expand(1, 1, 4, 6)

    def predict(images: Tensor) -> Mapping[str, Tensor]:
        place = torch.linspace(0, 1, images.shape[3]).expand_as(images)
        return {"s": images**2, "v": slopes(images), "place": place, "e": place}

    specs = (SCALAR, VECTOR, OutputSpec("place", 1), OutputSpec("e", 1, "embedding"))
    image = torch.randn(1, 1, 4, 6)
    maps = with_symmetries(predict, specs)(image)
    torch.testing.assert_close(maps["s"], image**2)
    torch.testing.assert_close(maps["v"], slopes(image))
    torch.testing.assert_close(maps["place"], torch.full_like(image, 0.5))
    torch.testing.assert_close(maps["e"], ramp)


def test_rays_that_no_quarter_turn_permutes() -> None:
    with pytest.raises(ConfigError, match="multiple of 4 rays, r has 6"):
        restore(torch.zeros(1, 6, 2, 2), SYMMETRIES[1], OutputSpec("r", 6, "rays"))
