"""Losses of the flow family."""

from __future__ import annotations

from torch import Tensor, nn

from cytotome.contract import Batch
from cytotome.families.flow.config import FlowConfig
from cytotome.losses.cell_type import cell_type_loss
from cytotome.losses.flow import flow_losses


def flow_loss(net: nn.Module, batch: Batch, config: FlowConfig) -> dict[str, Tensor]:
    """Mean squared error of the flow, cross entropy of cell against background, cross entropy of the cell type.

    Means are over the pixels marked by ``batch["valid"]``; the cell type loss only uses pixels of known type, at the
    resolution of its map.
    """
    outputs = net(batch["image"])
    losses = flow_losses(outputs, batch)
    total = config.flow_weight * losses["flow"] + config.cell_weight * losses["cell"]
    if "cell_type" in outputs:
        losses["cell_type"] = cell_type_loss(outputs["cell_type"].float(), batch["cell_type"], batch["valid"])
        total = total + config.type_weight * losses["cell_type"]
    return {**losses, "total": total}
