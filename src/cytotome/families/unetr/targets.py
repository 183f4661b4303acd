"""What the families that are built on a UNETR share: the maps that it predicts, and what they are to be."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from cytotome.families.unetr.config import UnetrConfig
from cytotome.families.unetr.decode import foreground_targets, oracle_foreground
from cytotome.outputs import Dense
from cytotome.types import AnyArray, DenseMaps, Instances, OutputSpec


def unetr_outputs(config: UnetrConfig) -> Dense:
    """The foreground of each cell type, and the border of touching cells where the config has one."""
    foreground = OutputSpec("foreground", len(config.class_names))
    return Dense((foreground, OutputSpec("border", 1)) if config.border else (foreground,))


def unetr_heads(config: UnetrConfig) -> dict[str, int]:
    """Name to channels of the outputs."""
    return {spec.name: spec.channels for spec in unetr_outputs(config).specs}


def unetr_targets(instances: Instances, config: UnetrConfig) -> dict[str, AnyArray]:
    """See :func:`cytotome.families.unetr.decode.foreground_targets`."""
    return foreground_targets(instances, len(config.class_names), config.border_width)


def unetr_oracle(targets: Mapping[str, AnyArray], config: UnetrConfig) -> DenseMaps:
    """See :func:`cytotome.families.unetr.decode.oracle_foreground`."""
    return oracle_foreground(targets, border=config.border)


def predict_maps(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Named probabilities ``(B, C, H, W)`` of ``(B, C, H, W)`` images."""
    return {name: logits.sigmoid() for name, logits in net(images).items()}
