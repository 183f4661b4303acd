"""The maps that UNETR predicts, their targets, and the outputs of a perfect network.

The border is the line between cells that touch, as defined by the winners of the Data Science Bowl 2018: isolated cells
have none, so that thin branches are not split.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from cytotome.families.unetr.config import UnetrConfig
from cytotome.ops.borders import contact_border, square
from cytotome.ops.labels import label_positions
from cytotome.outputs import Dense
from cytotome.types import AnyArray, DenseMaps, Instances, OutputSpec


def unetr_outputs(config: UnetrConfig) -> Dense:
    """The foreground of each cell type, and the border of touching cells if enabled in the config."""
    foreground = OutputSpec("foreground", len(config.class_names))
    return Dense((foreground, OutputSpec("border", 1)) if config.border else (foreground,))


def unetr_heads(config: UnetrConfig) -> dict[str, int]:
    """Channels of the outputs, by name."""
    return {spec.name: spec.channels for spec in unetr_outputs(config).specs}


def unetr_targets(instances: Instances, config: UnetrConfig) -> dict[str, AnyArray]:
    """See :func:`foreground_targets`."""
    return foreground_targets(instances, len(config.class_names), config.border_width)


def unetr_oracle(targets: Mapping[str, AnyArray], config: UnetrConfig) -> DenseMaps:
    """See :func:`oracle_foreground`."""
    return oracle_foreground(targets, border=config.border)


def predict_maps(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Named probabilities ``(B, C, H, W)`` of ``(B, C, H, W)`` images."""
    return {name: logits.sigmoid() for name, logits in net(images).items()}


def foreground_targets(instances: Instances, class_count: int, border_width: int) -> dict[str, AnyArray]:
    """Computes the targets of one crop; where instances overlap, the smaller one gets the pixels.

    Args:
        instances: instances with classes below ``class_count``, or -1 if unknown.
        class_count: number of foreground maps.
        border_width: half the side of the window of :func:`~cytotome.ops.borders.contact_border`.

    Returns:
        ``foreground`` ``(K, H, W)`` float32, 1 on instances of each class; ``border`` ``(1, H, W)`` float32; ``typed``
        ``(1, H, W)`` float32, 0 on instances of unknown class, for which no foreground map is known.
    """
    labels = label_positions(instances)
    table = np.concatenate([[class_count], instances.classes]).astype(np.int64)  # background has no class
    classes = table[labels]
    return {
        "foreground": (classes == np.arange(class_count)[:, None, None]).astype(np.float32),
        "border": contact_border(labels, square(border_width)).astype(np.float32)[None],
        "typed": (classes >= 0).astype(np.float32)[None],
    }


def oracle_foreground(targets: Mapping[str, AnyArray], *, border: bool) -> DenseMaps:
    """The maps of a perfect network; ``border`` is whether it predicts a border."""
    return {name: targets[name] for name in (("foreground", "border") if border else ("foreground",))}
