"""Networks of the flow family, and conversion of their outputs to maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from cytotome.families.flow.cellpose import CellposeNet
from cytotome.families.flow.config import FlowConfig
from cytotome.losses.flow import FLOW_HEADS
from cytotome.nets.compact import CompactUNet, initialise

if TYPE_CHECKING:
    from cytotome.nets.encoder_decoder import EncoderDecoder

FlowNet: TypeAlias = "CellposeNet | CompactUNet | EncoderDecoder"


def build_network(config: FlowConfig) -> FlowNet:
    """Builds a network with random weights and logits ``flow``, ``cell`` and, for several classes, ``cell_type``."""
    deep = {"cell_type": len(config.class_names)} if len(config.class_names) > 1 else {}
    if config.network == "timm":
        from cytotome.nets.encoder_decoder import EncoderDecoder  # timm takes seconds to import

        return EncoderDecoder(
            config.encoder,
            config.decoder,
            config.channels,
            FLOW_HEADS,
            deep,
            pretrained=config.pretrained,
            widths=config.widths,
        )
    if config.network == "cellpose":
        return CellposeNet(config.channels, config.widths, FLOW_HEADS, deep)
    net = CompactUNet(config.channels, config.widths, config.blocks, FLOW_HEADS, deep)
    initialise(net)
    return net


def predict_maps(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """``flow`` (y, x, about unit length in cells), ``cell`` in [0, 1], ``cell_type`` probabilities at a coarse
    resolution.
    """
    outputs = net(images)
    maps = {"flow": outputs["flow"], "cell": torch.sigmoid(outputs["cell"])}
    if "cell_type" in outputs:
        maps["cell_type"] = torch.softmax(outputs["cell_type"], dim=1)
    return maps
