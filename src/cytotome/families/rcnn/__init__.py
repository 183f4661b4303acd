"""Regions with CNN features: boxes are proposed, classified, refined and given masks (He et al. 2017, Mask R-CNN)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cytotome.contract import Batch, Family, Phase, Stage
from cytotome.families.rcnn.config import RcnnConfig, RcnnParameters
from cytotome.types import AnyArray, Instances, OutputSpec, Sample

if TYPE_CHECKING:
    import torch


def _outputs(config: RcnnConfig) -> tuple[OutputSpec, ...]:
    del config
    return ()


def _build(config: RcnnConfig) -> torch.nn.Module:
    from cytotome.families.rcnn.net import build_network

    return build_network(config)


def _targets(instances: Instances, config: RcnnConfig) -> dict[str, AnyArray]:
    from cytotome.families.rcnn.targets import rcnn_targets

    return rcnn_targets(instances, config)


def _oracle(targets: Mapping[str, AnyArray], config: RcnnConfig) -> Any:
    from cytotome.families.rcnn.targets import oracle_detections

    return oracle_detections(targets, config)


def _stages(config: RcnnConfig) -> tuple[Stage, ...]:
    def parameters(net: torch.nn.Module) -> Iterable[torch.nn.Parameter]:
        from cytotome.nets.pyramid import Pyramid, frozen_parameters

        assert isinstance(net.backbone, Pyramid)
        frozen = frozen_parameters(net.backbone, config.frozen_stages, norms=config.frozen_norm)
        return [parameter for parameter in net.parameters() if parameter not in frozen]

    def loss(net: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        from cytotome.families.rcnn.loss import rcnn_loss
        from cytotome.families.rcnn.net import Rcnn

        assert isinstance(net, Rcnn)
        return rcnn_loss(net, batch, config)

    return (Stage("rcnn", (Phase("all", parameters, loss),)),)


def _predict(net: torch.nn.Module, images: torch.Tensor) -> list[Instances]:
    from cytotome.families.rcnn.predict import predict_instances

    return predict_instances(net, images)  # type: ignore[arg-type]


def _decode(found: Instances, parameters: RcnnParameters, class_names: Sequence[str]) -> Instances:
    from cytotome.families.rcnn.decode import decode_detections

    return decode_detections(found, parameters, class_names)


def _calibrate(
    pairs: Sequence[tuple[Instances, Sample]], parameters: RcnnParameters, config: RcnnConfig
) -> RcnnParameters:
    from cytotome.families.rcnn.decode import fit_scores

    return fit_scores(pairs, parameters, config.class_names)


FAMILY = Family(
    name="rcnn",
    summary="Mask R-CNN and Cascade Mask R-CNN (He et al. 2017; Cai and Vasconcelos 2018)",
    config=RcnnConfig,
    parameters=RcnnParameters,
    outputs=_outputs,
    build=_build,
    targets=_targets,
    oracle=_oracle,
    stages=_stages,
    predict=_predict,
    decode=_decode,
    ceiling=0.9,
    calibrate=_calibrate,
)
