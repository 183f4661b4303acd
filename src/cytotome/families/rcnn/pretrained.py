"""Weights to start from: torchvision's Mask R-CNN, or a file of a detector or a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from cytotome.errors import ConfigError
from cytotome.nets.pretrained import fitted, read_weights

RENAMED = {
    "backbone.": "backbone.",
    "rpn.": "rpn.",
    "roi_heads.box_head.": "box_heads.{stage}.",
    "roi_heads.box_predictor.": "box_predictors.{stage}.",
    "roi_heads.mask_head.": "mask_head.",
    "roi_heads.mask_predictor.": "mask_predictor.",
}
"""Beginnings of the names of torchvision's MaskRCNN, and of ours."""


def load_pretrained(net: nn.Module, source: str) -> tuple[int, int]:
    """Copies the weights whose names and shapes agree into ``net``.

    Args:
        net: the family's network.
        source: ``coco`` for torchvision's ResNet-50-FPN, or the path of a ``.pth`` or ``.safetensors`` file with the
            weights of a torchvision Mask R-CNN or of a backbone.

    Returns:
        How many tensors of the network were taken, and how many stay new.

    Raises:
        ConfigError: where the file cannot be read or nothing in it fits.
    """
    weights = _coco_weights() if source == "coco" else read_weights(Path(source))
    own = net.state_dict()
    taken = {}
    for name, value in renamed(weights, _stages(own)).items():
        fitting = fitted(value, own.get(name))
        if fitting is not None:
            taken[name] = fitting
    if not taken:
        raise ConfigError(f"pretrained: no weight of {source!r} fits this network; choose the backbone that it is of")
    net.load_state_dict({**own, **taken})
    return len(taken), len(own) - len(taken)


def renamed(weights: Mapping[str, Tensor], stages: int) -> dict[str, Tensor]:
    """Weights by our names: of a torchvision detector, or else of a backbone."""
    if not any(name.startswith("backbone.body.") for name in weights):
        return {f"backbone.body.{name}": value for name, value in weights.items()}
    result = {}
    for name, value in weights.items():
        for theirs, ours in RENAMED.items():
            if name.startswith(theirs):
                for stage in range(stages):
                    result[ours.format(stage=stage) + name.removeprefix(theirs)] = value
    return result


def _stages(own: Mapping[str, Tensor]) -> int:
    return len({name.split(".")[1] for name in own if name.startswith("box_predictors.")})


def _coco_weights() -> dict[str, Tensor]:
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

    return dict(MaskRCNN_ResNet50_FPN_Weights.COCO_V1.get_state_dict(progress=False))
