"""Wasserstein losses of a discriminator, and its gradient penalty."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def distance(real: Tensor, made: Tensor) -> Tensor:
    """Mean value of the real less that of the made: the estimate of the Wasserstein distance that is to be raised.

    Arjovsky et al. 2017, arXiv 1701.07875.

    Args:
        real, made: ``(B,)`` values of the discriminator.
    """
    return real.float().mean() - made.float().mean()


def gradient_penalty(discriminate: Callable[[Tensor], Tensor], real: Tensor, made: Tensor) -> Tensor:
    """Mean of ``(slope - 1)^2`` at points between the real and the made (Gulrajani et al. 2017, arXiv 1704.00028).

    The slope is taken along the root mean square over the input's numbers, in the place of the paper's Euclidean norm,
    so that values and losses mean the same for crops of any size. Computed in float32, since half precision loses the
    gradient's gradient.

    Args:
        discriminate: gives ``(B,)`` values of ``(B, C, H, W)`` inputs.
        real, made: ``(B, C, H, W)`` float32.
    """
    with torch.autocast(real.device.type, enabled=False):
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (made + share * (real - made)).detach().requires_grad_(True)
        values = discriminate(between)
        (gradient,) = torch.autograd.grad(values.sum(), between, create_graph=True)
        slope = gradient.flatten(1).norm(dim=1) * gradient[0].numel() ** 0.5
        penalty: Tensor = (slope - 1).square().mean()
        return penalty
