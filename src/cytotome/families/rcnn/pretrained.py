"""Pretrained weights: torchvision's Mask R-CNN, or a file of a detector or a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cytotome.errors import ConfigError
from cytotome.nets.pretrained import Taken, fitted, learned, load_encoder, read_weights, require_host, whole

BODY = "backbone.body."
RENAMED = {
    "backbone.": "backbone.",
    "rpn.": "rpn.",
    "roi_heads.box_head.": "box_heads.{stage}.",
    "roi_heads.box_predictor.": "box_predictors.{stage}.",
    "roi_heads.mask_head.": "mask_head.",
    "roi_heads.mask_predictor.": "mask_predictor.",
}
"""Prefixes of the names in torchvision's MaskRCNN, and in this network."""


def load_pretrained(net: nn.Module, source: str) -> Taken:
    """Copies weights into ``net``: all weights of a backbone; of a detector, the backbone and all others that fit.

    Args:
        net: the family's network.
        source: ``coco`` for torchvision's ResNet-50-FPN, or the path of a ``.pth`` or ``.safetensors`` file with the
            weights of a torchvision Mask R-CNN or of a backbone.

    Returns:
        Which tensors were loaded, and which were not.

    Raises:
        ConfigError: if the file cannot be read or is for another backbone.
    """
    own = learned(net.state_dict())
    weights = learned(_coco_weights() if source == "coco" else read_weights(Path(source)))
    if not any(name.startswith(BODY) for name in weights):
        body = load_encoder(net.get_submodule(BODY.rstrip(".")), Path(source))
        return Taken(source, body.taken, tuple(name for name in own if not name.startswith(BODY)))
    theirs = renamed(weights, _stages(own))
    bodies = [{name: value for name, value in one.items() if name.startswith(BODY)} for one in (theirs, own)]
    taken = whole(bodies[0], bodies[1], source)
    for name, value in theirs.items():
        fitting = fitted(value, own.get(name))
        if fitting is not None:
            taken.setdefault(name, fitting)
    net.load_state_dict({**net.state_dict(), **taken})
    return Taken(source, len(taken), tuple(name for name in own if name not in taken))


def renamed(weights: Mapping[str, Tensor], stages: int) -> dict[str, Tensor]:
    """Weights of a torchvision detector, renamed to the names in this network."""
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

    weights = MaskRCNN_ResNet50_FPN_Weights.COCO_V1
    if not (Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name).is_file():
        require_host(weights.url, "torchvision's Mask R-CNN")
    try:
        return dict(weights.get_state_dict(progress=False))
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"pretrained: coco cannot be downloaded ({error}); give a file with the weights") from error
