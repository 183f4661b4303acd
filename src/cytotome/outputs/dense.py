"""Dense maps as the outputs of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cytotome.errors import DataError
from cytotome.outputs.canvas import Canvas, resized_maps
from cytotome.outputs.tiling import TileWatch, with_tiles
from cytotome.outputs.tta import Predictor, Tta, with_tta
from cytotome.types import AnyArray, DenseMaps, OutputSpec


@dataclass(frozen=True)
class Dense:
    """Named maps of an image; an :class:`cytotome.contract.Outputs`.

    Attributes:
        specs: how each map behaves.
    """

    specs: tuple[OutputSpec, ...]

    @property
    def joins_tiles(self) -> bool:
        """False with embeddings, which are not comparable across tiles."""
        return all(spec.kind != "embedding" for spec in self.specs)

    def tiled(self, predict: Predictor, *, tile: int, stride: int, watch: TileWatch | None = None) -> Predictor:
        """Tiles are blended with smooth windows, see :func:`cytotome.outputs.tiling.with_tiles`."""
        return with_tiles(predict, self.specs, tile=tile, stride=stride, watch=watch)

    def augmented(self, predict: Predictor, tta: Tta, *, stride: int) -> Predictor:
        """The mean over the views, see :func:`cytotome.outputs.tta.with_tta`."""
        return with_tta(predict, self.specs, tta, stride=stride)

    def at_size(self, found: Mapping[str, Tensor], canvas: Canvas, size: tuple[int, int]) -> list[DenseMaps]:
        """``(C, H, W)`` float32 maps of each image of a batch, interpolated linearly from its canvas."""
        maps = {name: values.cpu() for name, values in resized_maps(found, canvas, size).items()}
        count = len(next(iter(maps.values())))
        return [{name: values[index].numpy() for name, values in maps.items()} for index in range(count)]

    def why_no_mean(self) -> str:
        """Embeddings of two models are not comparable."""
        names = [spec.name for spec in self.specs if spec.kind == "embedding"]
        return f"{', '.join(names)} is an embedding, whose values differ from model to model" if names else ""

    def mean(self, outputs: Sequence[DenseMaps], weights: Sequence[float]) -> DenseMaps:
        """The weighted mean of each map.

        Raises:
            DataError: if names or shapes differ.
        """
        first = outputs[0]
        shapes = [{name: values.shape for name, values in one.items()} for one in outputs]
        if any(other != shapes[0] for other in shapes):
            raise DataError("fusion of maps: names or shapes differ between the models")
        if len(outputs) == 1:
            return first
        share = np.asarray(weights, np.float64)
        share = (share / share.sum()).astype(np.float32)
        fused = {name: values * share[0] for name, values in first.items()}
        for one, weight in zip(outputs[1:], share[1:], strict=True):
            for name in fused:
                fused[name] += one[name] * weight
        return fused

    def why_no_difference(self) -> str:
        """Embeddings are only comparable within one output."""
        return "" if self._comparable() else "only embeddings, by which two networks cannot be compared"

    def difference(self, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Tensor:
        """Mean over maps of the mean squared difference, without embeddings."""
        names = self._comparable()
        total = torch.zeros((), device=found[names[0]].device)
        for name in names:
            total = total + (found[name].float() - expected[name].float()).square().mean()
        return total / len(names)

    def _comparable(self) -> list[str]:
        return [spec.name for spec in self.specs if spec.kind != "embedding"]

    def to_arrays(self, output: DenseMaps) -> dict[str, AnyArray]:
        """The maps, by their names."""
        return dict(output)

    def from_arrays(self, arrays: Mapping[str, AnyArray]) -> DenseMaps:
        """The maps, by their names."""
        return dict(arrays)
