"""Test-time augmentation: the mean of the maps over symmetries of the square, scales and brightness.

Networks that predict instances are augmented by :mod:`cytotome.outputs.instance_tta`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from torch import Tensor
from torch.nn import functional

from cytotome.errors import ConfigError
from cytotome.types import OutputSpec

Predictor: TypeAlias = Callable[[Tensor], Mapping[str, Tensor]]
"""Converts ``(B, C, H, W)`` images to named ``(B, C, h, w)`` maps, with ``h / H = w / W`` for each name."""


class Symmetry(NamedTuple):
    """Transposes the axes if ``transpose`` is set, then flips y, then x."""

    transpose: bool
    flip_y: bool
    flip_x: bool


SYMMETRIES = tuple(Symmetry(t, y, x) for t in (False, True) for y in (False, True) for x in (False, True))
"""All eight symmetries, identity first."""


@dataclass(frozen=True, slots=True)
class Tta:
    """The views of test-time augmentation, in addition to the plain image; each combination is one pass of the network.

    Attributes:
        symmetries: use all flips and quarter turns.
        scales: factors of the image's size, in addition to 1.
        gains: factors of the normalised grey levels, in addition to 1.

    Raises:
        ConfigError: if a factor is not in [0.25, 4].
    """

    symmetries: bool = True
    scales: tuple[float, ...] = ()
    gains: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if wrong := [factor for factor in (*self.scales, *self.gains) if not 0.25 <= factor <= 4]:
            raise ConfigError(f"tta: scales and gains must be from 0.25 to 4, got {', '.join(map(str, wrong))}")

    @property
    def views(self) -> tuple[tuple[float, float], ...]:
        """Scale and gain of every view, plain image first."""
        return tuple((scale, gain) for scale in (1.0, *self.scales) for gain in (1.0, *self.gains))


def tta_settings(tta: bool | Tta) -> Tta | None:
    """Converts the argument ``tta``: ``True`` is only the symmetries; returns None without augmentation."""
    if isinstance(tta, Tta):
        return tta if tta.symmetries or len(tta.views) > 1 else None
    return Tta() if tta else None


def transform(images: Tensor, symmetry: Symmetry) -> Tensor:
    """Applies the symmetry to a ``(..., H, W)`` tensor."""
    if symmetry.transpose:
        images = images.transpose(-2, -1)
    axes = [axis for axis, flip in ((-2, symmetry.flip_y), (-1, symmetry.flip_x)) if flip]
    return images.flip(axes) if axes else images


def restore(maps: Tensor, symmetry: Symmetry, spec: OutputSpec) -> Tensor:
    """Maps outputs ``(B, C, H, W)`` of a transformed image back to the original.

    The components of vectors are transformed too.
    """
    axes = [axis for axis, flip in ((-2, symmetry.flip_y), (-1, symmetry.flip_x)) if flip]
    maps = maps.flip(axes) if axes else maps
    if spec.kind == "vector":
        signs = maps.new_tensor([-1.0 if symmetry.flip_y else 1.0, -1.0 if symmetry.flip_x else 1.0])
        maps = maps * signs[:, None, None]
        maps = maps.flip(1) if symmetry.transpose else maps
    return maps.transpose(-2, -1) if symmetry.transpose else maps


def with_symmetries(predict: Predictor, specs: Sequence[OutputSpec]) -> Predictor:
    """Returns a predictor of the mean over all eight symmetries; embeddings are those of the plain image."""

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


def with_tta(predict: Predictor, specs: Sequence[OutputSpec], tta: Tta, *, stride: int) -> Predictor:
    """Returns a predictor of the mean over all views; embeddings are those of the plain image.

    The length of vectors is preserved.

    Args:
        predict: the network.
        specs: specs of its maps.
        tta: the views.
        stride: the sides of images must be multiples of this.
    """
    turned = with_symmetries(predict, specs) if tta.symmetries else predict
    if len(tta.views) == 1:
        return turned
    averaged = [spec for spec in specs if spec.kind != "embedding"]

    def predict_mean(images: Tensor) -> dict[str, Tensor]:
        views = scaled_views(images, tta, stride)
        totals = {name: maps.float() for name, maps in turned(next(views)).items()}
        for view in views:
            maps = turned(view)
            for spec in averaged:
                back = resized(maps[spec.name].float(), totals[spec.name].shape[2:])
                totals[spec.name] = totals[spec.name] + back
        names = {spec.name for spec in averaged}
        return {name: total / len(tta.views) if name in names else total for name, total in totals.items()}

    return predict_mean


def scaled_views(images: Tensor, tta: Tta, stride: int) -> Iterator[Tensor]:
    """``(B, C, H', W')`` views of images ``(B, C, H, W)``, with sides that are multiples of ``stride``."""
    size = images.shape[2:]
    for scale, gain in tta.views:
        sides = tuple(max(1, round(side * scale / stride)) * stride for side in size) if scale != 1 else tuple(size)
        view = resized(images.float(), sides).to(images.dtype)
        yield view if gain == 1 else view * gain


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resizes to ``(B, C, *size)`` linearly, with anti-aliasing."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    smaller = size[0] < maps.shape[2]
    return functional.interpolate(maps, size=list(size), mode="bilinear", align_corners=False, antialias=smaller)
