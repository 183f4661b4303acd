"""Losses of the flow family."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from cytotome.contract import Batch
from cytotome.families.flow.config import FlowConfig
from cytotome.losses.cell_type import cell_type_loss


def flow_loss(net: nn.Module, batch: Batch, config: FlowConfig) -> dict[str, Tensor]:
    """Mean squared error of the flow, cross entropy of cell against background, cross entropy of the cell type.

    Means are over the pixels that ``batch["valid"]`` marks; the cell type counts on pixels of known type only, at the
    resolution of its map.
    """
    outputs = net(batch["image"])
    valid = batch["valid"]
    pixels = valid.sum().clamp(min=1)
    error = (outputs["flow"].float() - batch["flow"]).square().sum(dim=1, keepdim=True)
    flow = (error * valid).sum() / pixels
    entropy = functional.binary_cross_entropy_with_logits(outputs["cell"].float(), batch["cell"], reduction="none")
    cell = (entropy * valid).sum() / pixels
    losses = {"flow": flow, "cell": cell}
    total = config.flow_weight * flow + config.cell_weight * cell
    if "cell_type" in outputs:
        losses["cell_type"] = cell_type_loss(outputs["cell_type"].float(), batch["cell_type"], valid)
        total = total + config.type_weight * losses["cell_type"]
    return {**losses, "total": total}
