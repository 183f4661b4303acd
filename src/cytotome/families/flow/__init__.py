"""Flow fields: each pixel points the way to its cell's centre (Stringer et al. 2021, Cellpose)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cytotome.contract import Batch, Family, Phase, Stage
from cytotome.families.flow.config import FlowConfig, FlowParameters
from cytotome.types import AnyArray, DenseMaps, Instances, OutputSpec, Sample

if TYPE_CHECKING:
    import torch


def _outputs(config: FlowConfig) -> tuple[OutputSpec, ...]:
    maps: tuple[OutputSpec, ...] = (OutputSpec("flow", 2, "vector"), OutputSpec("cell", 1))
    if len(config.class_names) > 1:
        maps += (OutputSpec("cell_type", len(config.class_names)),)
    return maps


def _build(config: FlowConfig) -> torch.nn.Module:
    from cytotome.families.flow.net import build_network

    return build_network(config)


def _targets(instances: Instances, config: FlowConfig) -> dict[str, AnyArray]:
    from cytotome.families.flow.targets import flow_targets

    return flow_targets(instances, config)


def _oracle(targets: Mapping[str, AnyArray], config: FlowConfig) -> DenseMaps:
    from cytotome.families.flow.targets import oracle_maps

    return oracle_maps(targets, config)


def _stages(config: FlowConfig) -> tuple[Stage, ...]:
    def loss(net: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        from cytotome.families.flow.loss import flow_loss

        return flow_loss(net, batch, config)

    return (Stage("flow", (Phase("all", lambda net: net.parameters(), loss),)),)


def _predict(net: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    from cytotome.families.flow.net import predict_maps

    return predict_maps(net, images)


def _decode(maps: DenseMaps, parameters: FlowParameters, class_names: Sequence[str]) -> Instances:
    from cytotome.families.flow.decode import decode_flows

    return decode_flows(maps, parameters, class_names)


def _calibrate(
    pairs: Sequence[tuple[DenseMaps, Sample]], parameters: FlowParameters, config: FlowConfig
) -> FlowParameters:
    from cytotome.families.flow.decode import fit_scores

    return fit_scores(pairs, parameters, config.class_names)


FAMILY = Family(
    name="flow",
    summary="flow fields to cell centres and cell probability (Stringer et al. 2021)",
    config=FlowConfig,
    parameters=FlowParameters,
    outputs=_outputs,
    build=_build,
    targets=_targets,
    oracle=_oracle,
    stages=_stages,
    predict=_predict,
    decode=_decode,
    ceiling=0.93,
    calibrate=_calibrate,
)
