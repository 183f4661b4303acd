"""Networks of the embedding family, and how their outputs become maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from cytotome.families.embedding.config import EmbeddingConfig
from cytotome.nets.compact import CompactUNet, initialise

HIDDEN = 32
HEAD_SPREAD = 0.1
"""Of the weights of the embedding's head: far from zero, where the direction of a vector would hang on little."""


class EmbeddingNet(nn.Module):
    """A dense network whose output ``embedding`` is of unit length; and, on it, a classifier of parts where asked for.

    Args:
        body: gives logits by name, ``embedding`` among them.
        dimensions: of the embedding.
        parts: number of classes of the classifier, 0 for none.
    """

    def __init__(self, body: nn.Module, dimensions: int, parts: int) -> None:
        super().__init__()
        self.body = body
        self.stride = int(getattr(body, "stride"))  # noqa: B009
        self.parts: nn.Module | None = None
        if parts:
            self.parts = nn.Sequential(nn.Conv2d(dimensions, HIDDEN, 1), nn.ReLU(), nn.Conv2d(HIDDEN, parts, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """``embedding`` of unit length, logits ``cell`` or ``parts`` and, for several classes, ``cell_type``."""
        outputs = dict(self.body(images))
        outputs["embedding"] = functional.normalize(outputs["embedding"].float(), dim=1, eps=1e-6)
        if self.parts is not None:
            outputs["parts"] = self.parts(outputs["embedding"].to(images.dtype))
        return outputs


def build_network(config: EmbeddingConfig) -> nn.Module:
    """A network of random weights."""
    binary = config.variant == "binary"
    fine = {"embedding": config.dimensions} | ({} if binary else {"cell": 1})
    deep = {"cell_type": len(config.class_names)} if len(config.class_names) > 1 else {}
    body: nn.Module
    if config.network == "compact":
        body = CompactUNet(config.channels, config.widths, config.blocks, fine, deep)
        initialise(body)
        nn.init.normal_(body.fine.weight[: 4 * config.dimensions], std=HEAD_SPREAD)
    else:
        from cytotome.nets.encoder_decoder import EncoderDecoder  # timm and its kin take seconds to import

        body = EncoderDecoder(config.encoder, config.network, config.channels, fine, deep, pretrained=config.pretrained)
    return EmbeddingNet(body, config.dimensions, 3 if binary else 0)


def predict_maps(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """``embedding`` of unit length, ``cell`` or ``parts`` and ``cell_type`` as probabilities, the last one coarse."""
    outputs = net(images)
    maps = {"embedding": outputs["embedding"]}
    if "parts" in outputs:
        maps["parts"] = torch.softmax(outputs["parts"], dim=1)
    else:
        maps["cell"] = torch.sigmoid(outputs["cell"])
    if "cell_type" in outputs:
        maps["cell_type"] = torch.softmax(outputs["cell_type"], dim=1)
    return maps
