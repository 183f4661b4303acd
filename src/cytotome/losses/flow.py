"""Losses of a flow field and of cell against background."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from cytotome.contract import Batch

FLOW_HEADS = {"flow": 2, "cell": 1}
"""Channels of the outputs trained with :func:`flow_losses`."""


def flow_losses(outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Mean squared error of the flow, ``flow``, and mean cross entropy of the cells, ``cell``, over valid pixels.

    Args:
        outputs: ``flow`` ``(B, 2, H, W)`` and the logits ``cell`` ``(B, 1, H, W)``.
        batch: targets of the same names, from :func:`cytotome.ops.flows.flow_maps`, and ``valid``.
    """
    valid = batch["valid"]
    pixels = valid.sum().clamp(min=1)
    error = (outputs["flow"].float() - batch["flow"]).square().sum(dim=1, keepdim=True)
    entropy = functional.binary_cross_entropy_with_logits(outputs["cell"].float(), batch["cell"], reduction="none")
    return {"flow": (error * valid).sum() / pixels, "cell": (entropy * valid).sum() / pixels}
