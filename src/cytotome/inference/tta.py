"""Test-time augmentation: the mean of the maps over the eight symmetries of the square."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from cytotome.errors import ConfigError
from cytotome.types import OutputSpec

Predictor: TypeAlias = Callable[[Tensor], Mapping[str, Tensor]]
"""From ``(B, C, H, W)`` images to named ``(B, C, h, w)`` maps, where ``h / H = w / W`` for each name."""


class Symmetry(NamedTuple):
    """Exchanges the axes where ``transpose`` is set, then flips y, then x."""

    transpose: bool
    flip_y: bool
    flip_x: bool


SYMMETRIES = tuple(Symmetry(t, y, x) for t in (False, True) for y in (False, True) for x in (False, True))
"""All eight, the identity first."""


def transform(images: Tensor, symmetry: Symmetry) -> Tensor:
    """``(..., H, W)`` tensor, its pixels moved by the symmetry."""
    if symmetry.transpose:
        images = images.transpose(-2, -1)
    axes = [axis for axis, flip in ((-2, symmetry.flip_y), (-1, symmetry.flip_x)) if flip]
    return images.flip(axes) if axes else images


def restore(maps: Tensor, symmetry: Symmetry, spec: OutputSpec) -> Tensor:
    """Takes the maps ``(B, C, H, W)`` of a transformed image back to the image.

    Vectors are turned too. Rays are permuted; ray k of n points at the angle 2 pi k / n from x towards y, as in
    StarDist (Schmidt et al. 2018, arXiv 1806.03535).

    Raises:
        ConfigError: for rays whose number is no multiple of 4.
    """
    axes = [axis for axis, flip in ((-2, symmetry.flip_y), (-1, symmetry.flip_x)) if flip]
    maps = maps.flip(axes) if axes else maps
    if spec.kind == "vector":
        signs = maps.new_tensor([-1.0 if symmetry.flip_y else 1.0, -1.0 if symmetry.flip_x else 1.0])
        maps = maps * signs[:, None, None]
        maps = maps.flip(1) if symmetry.transpose else maps
    elif spec.kind == "rays":
        maps = maps[:, _ray_order(symmetry, spec)]
    return maps.transpose(-2, -1) if symmetry.transpose else maps


def with_symmetries(predict: Predictor, specs: Sequence[OutputSpec]) -> Predictor:
    """A predictor that gives the mean over all eight symmetries; embeddings are those of the plain image.

    Raises:
        ConfigError: when called for rays whose number is no multiple of 4.
    """

    def predict_mean(images: Tensor) -> dict[str, Tensor]:
        totals = {name: maps.float() for name, maps in predict(images).items()}
        for symmetry in SYMMETRIES[1:]:
            maps = predict(transform(images, symmetry))
            for spec in specs:
                if spec.kind != "embedding":
                    totals[spec.name] = totals[spec.name] + restore(maps[spec.name].float(), symmetry, spec)
        averaged = {spec.name for spec in specs if spec.kind != "embedding"}
        return {name: total / len(SYMMETRIES) if name in averaged else total for name, total in totals.items()}

    return predict_mean


def _ray_order(symmetry: Symmetry, spec: OutputSpec) -> Tensor:
    """``order[k]`` is the ray of the transformed image that is ray k of the image."""
    if spec.channels % 4:
        raise ConfigError(f"tta: needs a multiple of 4 rays, {spec.name} has {spec.channels}; segment without tta")
    order = torch.arange(spec.channels)
    if symmetry.transpose:
        order = spec.channels // 4 - order
    if symmetry.flip_x:
        order = spec.channels // 2 - order
    if symmetry.flip_y:
        order = -order
    return order % spec.channels
