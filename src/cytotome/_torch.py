"""All that is used of torch and torchvision beside their public interfaces, each with the reason.

Where a new version changes one of these, this file is the only one to follow; ``tests/test_torch_internals.py`` holds
what each must do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder


def has_onednn() -> bool:
    """Whether torch was built with oneDNN; ``torch.backends.mkldnn.is_available`` says whether it is also enabled."""
    return bool(torch._C._has_mkldnn)


def onednn_takes_bfloat16() -> bool:
    """Whether oneDNN computes in bfloat16 on this processor, within ``ONEDNN_MAX_CPU_ISA``; no public call says so."""
    return has_onednn() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def has_bfloat16_units() -> bool:
    """Whether this processor has AVX512-BF16 or AMX; the lowest torch lacks ``torch.cpu.get_capabilities``."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def onednn_convolution(
    x: Tensor, geometry: Sequence[Any], activation: str, arguments: Sequence[float] = (), *, other: Tensor | None = None
) -> Tensor:
    """A convolution, the sum with a second tensor and an activation in one pass over memory.

    Only inductor's generated code calls it in torch; compiling a network takes half a minute for each image size.

    Args:
        x: ``(B, C, H, W)``.
        geometry: weight, bias, padding, stride, dilation, groups.
        activation: ``none``, ``relu`` or ``hardtanh``; after a sum ``none`` or ``relu``.
        arguments: of the activation.
        other: added before the activation, of the output's shape.
    """
    call = torch.ops.mkldnn._convolution_pointwise
    if other is None:
        return call(x, *geometry, activation, list(arguments), "")  # type: ignore[no-any-return]
    rectifier = None if activation == "none" else activation
    return call.binary(x, other, *geometry, "add", 1.0, rectifier, [], "")  # type: ignore[no-any-return]


def resize_bilinear(values: Tensor, size: Sequence[int], factors: Sequence[float]) -> Tensor:
    """Bilinear resize of ``(B, C, H, W)`` to ``size`` with pixels placed by ``factors``, rows and columns.

    ``interpolate`` takes a size or factors, and derives the one from the other.
    """
    resized: Tensor = torch.ops.aten.upsample_bilinear2d(values, list(size), False, *factors)
    return resized


def box_coder(weights: tuple[float, float, float, float]) -> BoxCoder:
    """Offsets from boxes to boxes as Mask R-CNN learns them; torchvision's own networks are its only users."""
    from torchvision.models.detection._utils import BoxCoder

    return BoxCoder(weights)


def box_sampler(count: int, positive_part: float) -> BalancedPositiveNegativeSampler:
    """Random boxes, at most a part of them positive, as torchvision's own networks draw them."""
    from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

    return BalancedPositiveNegativeSampler(count, positive_part)
