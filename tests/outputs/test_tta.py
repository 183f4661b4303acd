"""Maps of a turned image, turned back, are the maps of the image."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cytotome.errors import ConfigError
from cytotome.outputs.tta import (
    SYMMETRIES,
    Symmetry,
    Tta,
    restore,
    transform,
    tta_settings,
    with_symmetries,
    with_tta,
)
from cytotome.types import OutputSpec

SCALAR, VECTOR = OutputSpec("s", 1), OutputSpec("v", 2, "vector")


def slopes(images: Tensor) -> Tensor:
    """Central differences along y and x of periodic images ``(B, 1, H, W)``."""
    return torch.cat([(images.roll(-1, axis) - images.roll(1, axis)) / 2 for axis in (2, 3)], dim=1)


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


def smooth_image() -> Tensor:
    rows, columns = torch.meshgrid(torch.linspace(-2, 2, 64), torch.linspace(-3, 3, 96), indexing="ij")
    return torch.exp(-((rows - 0.3) ** 2) - (columns + 0.4) ** 2)[None, None]


def test_scales_and_gains_change_nothing_of_maps_that_follow_them() -> None:
    """Brightness over its maximum follows scale and gain."""

    def predict(images: Tensor) -> Mapping[str, Tensor]:
        bright = images / images.amax(dim=(2, 3), keepdim=True)
        return {"s": bright, "e": images}

    specs = (SCALAR, OutputSpec("e", 1, "embedding"))
    image = smooth_image()
    maps = with_tta(predict, specs, Tta(scales=(0.5, 1.25), gains=(0.8, 1.3)), stride=8)(image)
    torch.testing.assert_close(maps["s"], image / image.amax(), atol=0.01, rtol=0)
    assert torch.equal(maps["e"], image)


def test_the_mean_is_over_every_view_once() -> None:
    seen = []

    def predict(images: Tensor) -> Mapping[str, Tensor]:
        seen.append((tuple(images.shape[2:]), float(images.mean())))
        return {"s": torch.full_like(functional.avg_pool2d(images, 2), len(seen))}

    image = torch.ones(1, 1, 32, 64)
    maps = with_tta(predict, (SCALAR,), Tta(symmetries=False, scales=(0.5,), gains=(2.0,)), stride=16)(image)
    assert seen == [((32, 64), 1.0), ((32, 64), 2.0), ((16, 32), 1.0), ((16, 32), 2.0)]
    torch.testing.assert_close(maps["s"], torch.full((1, 1, 16, 32), 2.5))


def test_settings_stand_for_what_is_done() -> None:
    assert tta_settings(True) == Tta()
    assert tta_settings(False) is None
    assert tta_settings(Tta(symmetries=False)) is None
    with pytest.raises(ConfigError, match=r"scales and gains must be from 0.25 to 4, got 0.1, 9.0"):
        Tta(scales=(0.1,), gains=(9.0,))
