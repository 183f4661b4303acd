"""Wasserstein losses against what is known of linear discriminators."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cytotome.families.unetr.adversarial import distance, gradient_penalty


def test_distance_is_the_difference_of_means() -> None:
    assert distance(torch.tensor([1.0, 3.0]), torch.tensor([0.5])).item() == pytest.approx(1.5)


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
def test_the_penalty_is_that_of_the_slope_whatever_the_size(size: int, slope: float) -> None:
    """A discriminator that is ``slope`` times the mean rises by ``slope`` for each unit of root mean square."""
    real, made = torch.rand(3, 2, size, size), torch.rand(3, 2, size, size)
    penalty = gradient_penalty(lambda pairs: slope * pairs.mean(dim=(1, 2, 3)), real, made)
    assert penalty.item() == pytest.approx((slope - 1) ** 2, abs=1e-5)


def test_the_penalty_teaches_the_discriminator() -> None:
    weight = torch.tensor(3.0, requires_grad=True)

    def discriminate(pairs: Tensor) -> Tensor:
        return weight * pairs.mean(dim=(1, 2, 3))

    gradient_penalty(discriminate, torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)).backward()
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(2 * (3 - 1), rel=1e-4)
