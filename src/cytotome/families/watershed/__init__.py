"""Semantic U-Net and deep watershed transform (Bai and Urtasun 2017)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from cytotome.contract import Batch, Family, Phase, Stage
from cytotome.families.watershed.config import WatershedConfig, WatershedParameters
from cytotome.types import AnyArray, DenseMaps, Instances, OutputSpec, Sample

if TYPE_CHECKING:
    import torch


def _outputs(config: WatershedConfig) -> tuple[OutputSpec, ...]:
    maps: tuple[OutputSpec, ...] = (
        OutputSpec("semantic", 3),
        OutputSpec("direction", 2, "vector"),
        OutputSpec("energy", 1, top=config.levels - 1.0),
    )
    if len(config.class_names) > 1:
        maps += (OutputSpec("cell_type", len(config.class_names)),)
    return maps


def _build(config: WatershedConfig) -> torch.nn.Module:
    from cytotome.families.watershed.net import build_network

    return build_network(config)


def _targets(instances: Instances, config: WatershedConfig) -> dict[str, AnyArray]:
    from cytotome.families.watershed.targets import watershed_targets

    return watershed_targets(instances, config)


def _oracle(targets: Mapping[str, AnyArray], config: WatershedConfig) -> DenseMaps:
    from cytotome.families.watershed.targets import oracle_maps

    return oracle_maps(targets, config)


def _stages(config: WatershedConfig) -> tuple[Stage, ...]:
    """Semantic and energy nets learn apart from true inputs, then all of it from the image alone."""

    def semantic(net: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        from cytotome.families.watershed.loss import semantic_loss

        return semantic_loss(net, batch, config)  # type: ignore[arg-type]

    def direction(net: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        from cytotome.families.watershed.loss import direction_loss

        return direction_loss(net, batch)  # type: ignore[arg-type]

    def energy(net: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        from cytotome.families.watershed.loss import energy_loss

        return energy_loss(net, batch, config)  # type: ignore[arg-type]

    def joint(net: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        from cytotome.families.watershed.loss import joint_loss

        return joint_loss(net, batch, config)  # type: ignore[arg-type]

    everything = ("semantic", "direction", "energy") if config.semantic_weight else ("direction", "energy")
    return (
        Stage("semantic", (Phase("net", _Parts("semantic"), semantic),)),
        Stage("direction", (Phase("net", _Parts("direction"), direction),)),
        Stage("energy", (Phase("net", _Parts("energy"), energy),)),
        Stage("joint", (Phase("net", _Parts(*everything), joint),), share=3.0),
    )


class _Parts:
    """The parameters of some of the networks."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, net: torch.nn.Module) -> Iterable[torch.nn.Parameter]:
        return (parameter for name in self.names for parameter in getattr(net, name).parameters())


def _predict(net: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    from cytotome.families.watershed.net import predict_maps

    return predict_maps(net, images)


def _decode(maps: DenseMaps, parameters: WatershedParameters, class_names: Sequence[str]) -> Instances:
    from cytotome.families.watershed.decode import decode_energy

    return decode_energy(maps, parameters, class_names)


def _calibrate(
    pairs: Sequence[tuple[DenseMaps, Sample]], parameters: WatershedParameters, config: WatershedConfig
) -> WatershedParameters:
    from cytotome.families.watershed.decode import calibrate

    return calibrate(pairs, parameters, config.class_names)


FAMILY = Family(
    name="watershed",
    summary="semantic U-Net, directions and energy of the deep watershed transform (Bai and Urtasun 2017)",
    config=WatershedConfig,
    parameters=WatershedParameters,
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
