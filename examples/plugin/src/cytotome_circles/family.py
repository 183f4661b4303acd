"""A family that varies one of cytotome's: flow fields of a small network, for round cells.

A method of your own is a ``cytotome.contract.Family`` with functions of its own, as in ``cytotome/families/flow``.
"""

from __future__ import annotations

from dataclasses import replace

from cytotome.families import get_family
from cytotome.families.flow.config import FlowConfig


class SmallFlowConfig(FlowConfig):
    """The config of ``flow`` with other defaults."""

    widths: tuple[int, ...] = (8, 16, 16)
    blocks: tuple[int, ...] = (0, 1, 1)
    input_scale: float = 1.0


FAMILY = replace(
    get_family("flow"), name="small-flow", summary="flow fields of a small network", config=SmallFlowConfig
)
