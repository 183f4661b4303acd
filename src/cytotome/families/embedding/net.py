"""Networks of the embedding family, and conversion of their outputs to maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cytotome.families.embedding.config import EmbeddingConfig
from cytotome.nets.compact import CompactUNet, initialise

HIDDEN = 32
HEAD_SPREAD = 0.1
"""Standard deviation of the initial weights of the embedding's head: not near zero, where directions are unstable."""
SHIFT = 8.0
"""Pixels by which an output of 1 shifts a position."""


class EmbeddingNet(nn.Module):
    """A dense network with the output ``embedding`` of unit length and, optionally, a classifier of parts on top of it.

    Args:
        body: returns named logits, including ``embedding`` and, with periods, ``shift``.
        dimensions: of the embedding.
        periods: wavelengths in pixels of the position embedding that is added.
        parts: number of classes of the classifier, 0 for none.
    """

    def __init__(self, body: nn.Module, dimensions: int, periods: Sequence[float], parts: int) -> None:
        super().__init__()
        self.body = body
        self.periods = tuple(periods)
        self.stride = int(getattr(body, "stride"))  # noqa: B009
        self.parts: nn.Module | None = None
        if parts:
            self.parts = nn.Sequential(nn.Conv2d(dimensions, HIDDEN, 1), nn.ReLU(), nn.Conv2d(HIDDEN, parts, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """``embedding`` of unit length, logits ``cell`` or ``parts`` and, for several classes, ``cell_type``."""
        outputs = dict(self.body(images))
        embedding = outputs["embedding"].float()
        if self.periods:
            waves = place_waves(SHIFT * outputs.pop("shift").float(), self.periods)
            missing = embedding.shape[1] - waves.shape[1]
            embedding = embedding + functional.pad(waves, (0, 0, 0, 0, 0, missing))
        outputs["embedding"] = functional.normalize(embedding, dim=1, eps=1e-6)
        if self.parts is not None:
            outputs["parts"] = self.parts(outputs["embedding"].to(images.dtype))
        return outputs


def place_waves(shift: Tensor, periods: Sequence[float]) -> Tensor:
    """Sinusoidal embedding of each pixel's shifted position, ``(B, 4 P, H, W)`` float32, of unit length.

    The dot product of two pixels only depends on the distance of their shifted positions. If all pixels of a cell are
    shifted to one position, they have the same vector, different from those of other cells (Kulikov and Lempitsky 2020,
    arXiv 1904.05257, who add such an embedding to the features of the network).

    Args:
        shift: ``(B, 2, H, W)`` float32 in pixels, y and x.
        periods: P wavelengths in pixels.
    """
    y = torch.arange(shift.shape[2], device=shift.device, dtype=torch.float32)[:, None]
    x = torch.arange(shift.shape[3], device=shift.device, dtype=torch.float32)
    turns = [2 * torch.pi / period * place for period in periods for place in (y + shift[:, 0], x + shift[:, 1])]
    waves = torch.stack([wave for turn in turns for wave in (turn.cos(), turn.sin())], dim=1)
    return waves / math.sqrt(len(turns))


def build_network(config: EmbeddingConfig) -> EmbeddingNet:
    """Builds a network with random weights."""
    binary = config.variant == "binary"
    fine = {"embedding": config.dimensions} | ({} if binary else {"cell": 1})
    fine |= {"shift": 2} if config.periods else {}
    deep = {"cell_type": len(config.class_names)} if len(config.class_names) > 1 else {}
    body: nn.Module
    if config.network == "compact":
        body = CompactUNet(config.channels, config.widths, config.blocks, fine, deep)
        initialise(body)
        if not config.periods:
            nn.init.normal_(body.fine.weight[: 4 * config.dimensions], std=HEAD_SPREAD)
    else:
        from cytotome.nets.encoder_decoder import EncoderDecoder  # timm takes seconds to import

        body = EncoderDecoder(config.encoder, config.network, config.channels, fine, deep, pretrained=config.pretrained)
    return EmbeddingNet(body, config.dimensions, config.periods, 3 if binary else 0)


def predict_maps(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """``embedding`` of unit length, ``cell`` or ``parts`` and ``cell_type`` as probabilities, the last at a coarse
    resolution.
    """
    outputs = net(images)
    maps = {"embedding": outputs["embedding"]}
    if "parts" in outputs:
        maps["parts"] = torch.softmax(outputs["parts"], dim=1)
    else:
        maps["cell"] = torch.sigmoid(outputs["cell"])
    if "cell_type" in outputs:
        maps["cell_type"] = torch.softmax(outputs["cell_type"], dim=1)
    return maps
