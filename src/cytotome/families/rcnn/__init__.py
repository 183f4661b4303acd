"""Regions with CNN features: boxes are proposed, classified, refined and segmented (He et al. 2017, Mask R-CNN)."""

from __future__ import annotations

from functools import partial

from torch import nn

from cytotome.contract import Family, Phase, Stage
from cytotome.families.rcnn.config import RcnnConfig, RcnnParameters
from cytotome.families.rcnn.decode import decode_detections, fit_scores
from cytotome.families.rcnn.loss import rcnn_loss
from cytotome.families.rcnn.net import Rcnn, build_network
from cytotome.families.rcnn.predict import predict_instances
from cytotome.families.rcnn.pyramid import frozen_parameters
from cytotome.families.rcnn.targets import oracle_detections, rcnn_targets
from cytotome.outputs import Detections


def _stages(config: RcnnConfig) -> tuple[Stage[Rcnn], ...]:
    def parameters(net: Rcnn) -> list[nn.Parameter]:
        frozen = frozen_parameters(net.backbone, config.frozen_stages, norms=config.frozen_norm)
        return [parameter for parameter in net.parameters() if parameter not in frozen]

    return (Stage("rcnn", (Phase("all", parameters, partial(rcnn_loss, config=config)),)),)


FAMILY = Family(
    name="rcnn",
    summary="Mask R-CNN and Cascade Mask R-CNN (He et al. 2017; Cai and Vasconcelos 2018)",
    config=RcnnConfig,
    parameters=RcnnParameters,
    outputs=lambda config: Detections(),
    build=build_network,
    stride=lambda net: net.stride,
    targets=rcnn_targets,
    oracle=oracle_detections,
    stages=_stages,
    predict=predict_instances,
    decode=decode_detections,
    ceiling=0.9,
    calibrate=fit_scores,
)
