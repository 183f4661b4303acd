"""Feature pyramids: any timm backbone with torchvision's FPN (Lin et al. 2017, arXiv 1612.03144), or the compact
U-Net.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from cytotome.errors import ConfigError
from cytotome.nets.compact import CompactUNet
from cytotome.nets.depthwise import speed_up_depthwise
from cytotome.nets.encoder_decoder import EncoderDecoder
from cytotome.nets.pretrained import Taken, learned, remember, timm_weights

PyramidNorm: TypeAlias = Literal["none", "batch", "group"]
LEVELS = 4
STATISTICS_MOMENTUM = 0.3
"""Momentum of batch normalisation without pretrained weights. Weights trained from scratch change quickly, and running
statistics have to follow; they are smoothed by the average of the weights over steps."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class Pyramid(nn.Module):
    """Four levels of a backbone, each projected to the same number of channels, and a fifth by subsampling the last.

    Args:
        backbone: timm name of a network with at least four levels, such as ``resnet50`` or
            ``swin_tiny_patch4_window7_224``.
        channels: channels of the images.
        pyramid_channels: channels of every level.
        widths: channels of a ResNet's four stages before expansion; empty for the defaults.
        stem_stride: stride of the finest level: 4, or 2 for convolutional backbones whose stem halves the image twice.
        norm: normalisation after each convolution of the pyramid.
        imagenet_normalisation: convert images in [0, 1] to three channels with ImageNet's mean and standard deviation.
        pretrained: load timm's ImageNet weights (needs internet access or timm's cache).

    Raises:
        ConfigError: if timm has no such backbone, or it is not compatible with the other arguments.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        backbone: str,
        channels: int = 1,
        pyramid_channels: int = 256,
        *,
        widths: tuple[int, ...] = (),
        stem_stride: int = 4,
        norm: PyramidNorm = "none",
        imagenet_normalisation: bool = False,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        if imagenet_normalisation and channels not in (1, 3):
            raise ConfigError(f"imagenet_normalisation: needs images of 1 or 3 channels, got {channels}; omit it")
        self.imagenet_normalisation = imagenet_normalisation
        options: dict[str, Any] = {"channels": widths} if widths else {}
        given, licence = timm_weights(backbone) if pretrained else ({}, "")
        self.body = _body(backbone, 3 if imagenet_normalisation else channels, pretrained, {**options, **given})
        if pretrained:
            count = len(learned(self.body.state_dict()))
            remember(self.body, Taken(f"timm's {backbone}", count, licence=licence))
        speed_up_depthwise(self.body)
        for module in self.body.modules():
            if isinstance(module, nn.BatchNorm2d) and not pretrained:
                module.momentum = STATISTICS_MOMENTUM
        if stem_stride == 2:
            _halve_stem_stride(self.body, backbone)
        self.strides = tuple(stem_stride * 2**level for level in range(LEVELS + 1))
        self.channels_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")
        self.fpn = FeaturePyramidNetwork(
            self.body.feature_info.channels(), pyramid_channels, LastLevelMaxPool(), norm_layer(norm)
        )
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns five levels ``(B, pyramid_channels, h, w)``, finest first, for ``(B, C, H, W)`` images."""
        if self.imagenet_normalisation:
            images = (images - self.mean) / self.deviation
        levels = self.body(images)
        if self.channels_last:
            levels = [level.permute(0, 3, 1, 2) for level in levels]
        features = OrderedDict((str(index), levels[index]) for index in range(LEVELS))
        return list(self.fpn(features).values())


class CompactPyramid(nn.Module):
    """The compact U-Net as a pyramid: four decoded levels from a quarter of the resolution on, and a fifth by
    subsampling.

    Its finest level, at half the resolution, is passed to the first level of the pyramid by a convolution of stride 2.
    Names and shapes of the weights are those of a ``flow`` model of the same widths, whose weights can be loaded.

    Args:
        body: the U-Net, or one on a timm encoder with the decoder ``compact``, with heads ``flow`` and ``cell``.
        widths: channels of its five levels, finest first.
        pyramid_channels: channels of every level.
        norm: normalisation of each level of the pyramid.
    """

    def __init__(
        self, body: CompactUNet | EncoderDecoder, widths: Sequence[int], pyramid_channels: int, norm: PyramidNorm
    ) -> None:
        super().__init__()
        self.strides = tuple(4 * 2**level for level in range(LEVELS + 1))  # separate list, which is kept by tracing
        self.body = body
        self.finest = nn.Conv2d(widths[0], pyramid_channels, 3, stride=2, padding=1)
        self.lateral = nn.ModuleList(nn.Conv2d(width, pyramid_channels, 3, padding=1) for width in widths[1:])
        make = norm_layer(norm) or nn.Identity
        self.norms = nn.ModuleList(make(pyramid_channels) for _ in self.lateral)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns five levels ``(B, pyramid_channels, h, w)``, finest first, for ``(B, C, H, W)`` images."""
        return self._levels(self.body.features(images))

    def with_maps(self, images: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Returns the five levels, and the logits of the U-Net's heads, ``flow`` and ``cell``."""
        features = self.body.features(images)
        return self._levels(features), self.body.fine_logits(features[0])

    def _levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        levels = [lateral(level) for lateral, level in zip(self.lateral, features[1:], strict=True)]
        levels[0] = levels[0] + self.finest(features[0])
        levels = [norm(level) for norm, level in zip(self.norms, levels, strict=True)]
        return [*levels, functional.max_pool2d(levels[-1], 1, 2)]


def norm_layer(norm: PyramidNorm) -> Any:
    """Returns the constructor of a normalisation layer, which takes the number of channels; None for ``none``."""
    if norm == "batch":
        return nn.BatchNorm2d
    return _group_norm if norm == "group" else None


def _group_norm(channels: int) -> nn.GroupNorm:
    """Groups of 16 channels."""
    return nn.GroupNorm(max(1, channels // 16), channels)


def frozen_parameters(pyramid: Pyramid | CompactPyramid, stages: int, *, norms: bool) -> set[nn.Parameter]:
    """Returns the parameters of the backbone that are not trained.

    Args:
        pyramid: the pyramid; only its backbone is frozen.
        stages: 1 for everything before the first level, 2 to include the first level, and so on; 0 for none.
        norms: include all batch normalisations, which then keep their running statistics.
    """
    frozen: set[nn.Parameter] = set()
    if isinstance(pyramid, CompactPyramid):
        return frozen
    names = [str(name).replace(".", "_") for name in pyramid.body.feature_info.module_name()]
    level = 0
    for name, child in pyramid.body.named_children():
        level = names.index(name) + 1 if name in names else level
        if level < stages:
            frozen |= set(child.parameters())
    for module in pyramid.body.modules():
        if norms and isinstance(module, nn.modules.batchnorm._BatchNorm):
            frozen |= set(module.parameters())
    return frozen


def _body(name: str, channels: int, pretrained: bool, options: dict[str, Any]) -> Any:
    if name.startswith("swin"):
        options = {**options, "strict_img_size": False}
    try:
        plain = {key: value for key, value in options.items() if not key.startswith("pretrained")}
        probe = timm.create_model(name, features_only=True, in_chans=channels, **plain)
        levels = len(cast("Any", probe).feature_info.channels())
        if levels < LEVELS:
            raise ConfigError(f"backbone {name!r} has {levels} levels, a pyramid needs {LEVELS}; choose another")
        if levels == LEVELS and not pretrained:
            return probe
        indices = tuple(range(levels - LEVELS, levels))
        return timm.create_model(name, features_only=True, in_chans=channels, out_indices=indices, **options)
    except (RuntimeError, ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        fault = " ".join(str(error).split())[:200]
        raise ConfigError(f"backbone {name!r} cannot be used: {fault}; see timm.list_models()") from error


def _halve_stem_stride(body: nn.Module, name: str) -> None:
    """Sets the stride of the first convolution that halves the image to 1, without changing its weights."""
    for module in body.modules():
        if isinstance(module, nn.Conv2d) and module.stride != (1, 1):
            if module.stride == (2, 2):
                module.stride = (1, 1)
                return
            break
    raise ConfigError(f"stem_stride: the stem of {name!r} does not begin with a convolution of stride 2; leave it at 4")
