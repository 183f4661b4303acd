"""Flow fields: each pixel points the way to its cell's centre (Stringer et al. 2021, Cellpose)."""

from __future__ import annotations

from functools import partial

from cytotome.contract import Family, Phase, Stage
from cytotome.families.flow.config import FlowConfig, FlowParameters
from cytotome.families.flow.decode import decode_flows, fit_scores
from cytotome.families.flow.loss import flow_loss
from cytotome.families.flow.net import FlowNet, build_network, predict_maps
from cytotome.families.flow.targets import flow_targets, oracle_maps
from cytotome.outputs import Dense
from cytotome.types import OutputSpec


def _outputs(config: FlowConfig) -> Dense:
    maps: tuple[OutputSpec, ...] = (OutputSpec("flow", 2, "vector"), OutputSpec("cell", 1))
    if len(config.class_names) > 1:
        maps += (OutputSpec("cell_type", len(config.class_names)),)
    return Dense(maps)


def _stages(config: FlowConfig) -> tuple[Stage[FlowNet], ...]:
    return (Stage("flow", (Phase("all", lambda net: net.parameters(), partial(flow_loss, config=config)),)),)


FAMILY = Family(
    name="flow",
    summary="flow fields to cell centres and cell probability (Stringer et al. 2021)",
    config=FlowConfig,
    parameters=FlowParameters,
    outputs=_outputs,
    build=build_network,
    stride=lambda net: net.stride,
    targets=flow_targets,
    oracle=oracle_maps,
    stages=_stages,
    predict=predict_maps,
    decode=decode_flows,
    ceiling=0.93,
    calibrate=fit_scores,
)
