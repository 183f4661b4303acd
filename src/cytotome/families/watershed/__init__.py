"""Semantic U-Net and deep watershed transform (Bai and Urtasun 2017)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from torch import nn

from cytotome.contract import Family, Phase, Stage
from cytotome.families.watershed.config import WatershedConfig, WatershedParameters
from cytotome.families.watershed.decode import calibrate, decode_energy
from cytotome.families.watershed.loss import direction_loss, energy_loss, joint_loss, semantic_loss
from cytotome.families.watershed.net import WatershedNet, build_network, predict_maps
from cytotome.families.watershed.targets import oracle_maps, watershed_targets
from cytotome.outputs import Dense
from cytotome.types import OutputSpec


def _outputs(config: WatershedConfig) -> Dense:
    maps: tuple[OutputSpec, ...] = (
        OutputSpec("semantic", 3),
        OutputSpec("direction", 2, "vector"),
        OutputSpec("energy", 1, top=config.levels - 1.0),
    )
    if len(config.class_names) > 1:
        maps += (OutputSpec("cell_type", len(config.class_names)),)
    return Dense(maps)


def _stages(config: WatershedConfig) -> tuple[Stage[WatershedNet], ...]:
    """The networks are first trained separately on true inputs, then all together on the image only."""
    everything = ("semantic", "direction", "energy") if config.semantic_weight else ("direction", "energy")
    return (
        Stage("semantic", (Phase("net", _Parts("semantic"), partial(semantic_loss, config=config)),)),
        Stage("direction", (Phase("net", _Parts("direction"), direction_loss),)),
        Stage("energy", (Phase("net", _Parts("energy"), partial(energy_loss, config=config)),)),
        Stage("joint", (Phase("net", _Parts(*everything), partial(joint_loss, config=config)),), share=3.0),
    )


class _Parts:
    """The parameters of some of the networks."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, net: nn.Module) -> Iterable[nn.Parameter]:
        return (parameter for name in self.names for parameter in getattr(net, name).parameters())


FAMILY = Family(
    name="watershed",
    summary="semantic U-Net, directions and energy of the deep watershed transform (Bai and Urtasun 2017)",
    config=WatershedConfig,
    parameters=WatershedParameters,
    outputs=_outputs,
    build=build_network,
    stride=lambda net: net.stride,
    targets=watershed_targets,
    oracle=oracle_maps,
    stages=_stages,
    predict=predict_maps,
    decode=decode_energy,
    ceiling=0.93,
    calibrate=calibrate,
)
