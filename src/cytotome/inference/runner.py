"""A network on its device: computes outputs for images, for any kind of outputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cytotome.contract import FamilyConfig, Outputs
from cytotome.families import AnyFamily
from cytotome.inference.optimise import can_fuse_activations, optimise
from cytotome.inference.passes import Pass
from cytotome.outputs.canvas import Canvas, to_canvas
from cytotome.outputs.tta import tta_settings
from cytotome.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """An image prepared for a network.

    Attributes:
        planes: ``(C, H, W)`` float32, the normalised image.
        canvas: the same at the size of the network's input.
    """

    planes: FloatArray
    canvas: Canvas

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return self.planes.shape[1], self.planes.shape[2]

    @property
    def is_blank(self) -> bool:
        """Whether every pixel is 0."""
        return not self.canvas.pixels.any()


@dataclass(frozen=True, eq=False)
class Runner:
    """A network of a family, ready to run; may be called from several threads.

    Attributes:
        family: the family of the network.
        net: the network in evaluation mode, on its device, in channels_last memory format.
        kind: kind of its outputs.
        device, precision: device and dtype of its computations.
        stride: the sides of its input must be multiples of this.
        tile: largest side of its input, None if there is no limit.
        turn: lock while it runs: one batch at a time on an accelerator, to limit its memory.
    """

    family: AnyFamily
    net: nn.Module
    kind: Outputs[Any, Any]
    device: torch.device
    precision: torch.dtype
    stride: int
    tile: int | None = None
    turn: AbstractContextManager[Any] = field(default_factory=nullcontext)

    @classmethod
    def of(
        cls, family: AnyFamily, config: FamilyConfig, net: nn.Module, device: torch.device, precision: torch.dtype
    ) -> Runner:
        """Creates a runner from a network as built by the family, which is modified."""
        stride, tile = family.stride(net), family.tile(net) if family.tile else None
        net = optimise(net.eval().requires_grad_(False), fuse_activations=can_fuse_activations(device))
        net = net.to(device, precision).to(memory_format=torch.channels_last)
        turn = nullcontext() if device.type == "cpu" else threading.Lock()
        return cls(family, net, family.outputs(config), device, precision, stride, tile, turn)

    def see(self, planes: FloatArray, scale: float, offset: tuple[float, float]) -> Seen:
        """Prepares a normalised image ``(C, H, W)`` for the network at ``scale``, sampled ``offset`` further down and
        right.
        """
        return Seen(planes, to_canvas(planes, scale, self.stride, offset))

    def outputs(self, seen: Sequence[Seen], how: Pass, *sizes: Sequence[tuple[int, int]]) -> list[tuple[Any, ...]]:
        """Computes the input of the decoder for each image, at its own size and at further ones.

        Consecutive images of the same geometry share a batch.

        Args:
            seen: the images.
            how: views and tiles.
            *sizes: further sizes ``(H, W)``, each a sequence with one per image.

        Returns:
            A tuple per image: the outputs at the image's size, then at each of its further sizes.
        """
        wanted = [(one.size, *(size[place] for size in sizes)) for place, one in enumerate(seen)]
        found: list[tuple[Any, ...]] = []
        for _, group in groupby(zip(seen, wanted, strict=True), key=_geometry):
            alike = list(group)
            found += self._outputs([one for one, _ in alike], how, alike[0][1])
        return found

    def _outputs(self, seen: Sequence[Seen], how: Pass, sizes: Sequence[tuple[int, int]]) -> list[tuple[Any, ...]]:
        predict: Callable[[Tensor], Any] = self.run
        if views := tta_settings(how.tta):
            predict = self.kind.augmented(predict, views, stride=self.stride)
        tile = min(how.tile, self.tile or how.tile)
        predict = self.kind.tiled(predict, tile=tile, stride=self.stride, watch=how.watch)
        canvases = [one.canvas.pixels for one in seen]
        stacked = canvases[0][None] if len(canvases) == 1 else np.stack(canvases)
        with self.turn, torch.inference_mode():
            found = predict(torch.from_numpy(stacked).to(self.device, self.precision))
            sized = {size: self.kind.at_size(found, seen[0].canvas, size) for size in dict.fromkeys(sizes)}
        return [tuple(sized[size][place] for size in sizes) for place in range(len(seen))]

    def run(self, images: Tensor) -> Any:
        """Runs the network on a batch ``(B, C, H, W)`` with its device and precision."""
        return self.family.predict(self.net, images.contiguous(memory_format=torch.channels_last))


def _geometry(item: tuple[Seen, tuple[tuple[int, int], ...]]) -> object:
    """Key of images that can be in the same batch."""
    seen, sizes = item
    return seen.canvas.pixels.shape, seen.canvas.content, sizes
