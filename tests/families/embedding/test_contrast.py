"""The pixel losses beside their formulas written out, and their memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cytotome.families.embedding import contrast
from cytotome.families.embedding.contrast import pixel_contrast
from cytotome.families.embedding.discriminative import discriminative_loss


def _pixels(count: int, labels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = functional.normalize(torch.randn(count, 4, generator=generator, dtype=torch.float32), dim=1)
    return embeddings, torch.randint(labels, (count,), generator=generator)


def _written_out(embeddings: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Pair by pair, as the docstring says."""
    powers = (embeddings @ embeddings.T / temperature).exp()
    pixels = []
    for i in range(len(labels)):
        rivals = powers[i][labels != labels[i]].sum()
        partners = [p for p in range(len(labels)) if p != i and labels[p] == labels[i]]
        if partners:
            pixels.append(torch.stack([-(powers[i, p] / (powers[i, p] + rivals)).log() for p in partners]).mean())
    return torch.stack(pixels).mean()


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_value_and_gradient_are_those_of_the_formula(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrast, "BLOCK", block)
    embeddings, labels = _pixels(40, 5)
    labels[7] = 99  # without a partner
    ours, theirs = (embeddings.clone().requires_grad_() for _ in range(2))
    loss, expected = pixel_contrast(ours, labels, 0.2), _written_out(theirs, labels, 0.2)
    (3 * loss).backward()  # type: ignore[no-untyped-call]
    (3 * expected).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_balanced_counts_labels_and_not_pixels() -> None:
    """The loss of a label does not change when the weights of its pixels do."""
    embeddings, labels = _pixels(60, 3)
    parts = []
    for label in range(3):
        powers = (embeddings @ embeddings.T / 0.5).exp()
        own = [int(i) for i in torch.nonzero(labels == label)[:, 0]]
        rivals = powers[:, labels != label].sum(dim=1)
        pairs = [-(powers[i, p] / (powers[i, p] + rivals[i])).log() for i in own for p in own if i != p]
        parts.append(torch.stack(pairs).mean())
    torch.testing.assert_close(pixel_contrast(embeddings, labels, 0.5, balanced=True), torch.stack(parts).mean())


def test_no_partner_is_no_loss_and_low_temperatures_are_refused() -> None:
    embeddings = torch.eye(4, requires_grad=True)
    loss = pixel_contrast(embeddings, torch.arange(4))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert embeddings.grad is not None
    assert embeddings.grad.abs().sum() == 0
    with pytest.raises(ValueError, match=r"temperature: expected at least 0.02, got 0.01"):
        pixel_contrast(embeddings, torch.zeros(4), 0.01)


def test_memory_does_not_grow_with_the_square_of_the_pixels() -> None:
    """8,000 pixels have 64 million pairs, 256 MB an array; the largest that is made holds one block."""
    embeddings, labels = _pixels(8000, 20)
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.numel())
            return result

    with Watch():
        loss = pixel_contrast(embeddings, labels)
    assert 8000 < largest <= contrast.BLOCK
    assert 0 < loss.item() < 20


def test_discriminative_loss_of_a_case_by_hand() -> None:
    """Means at (0, 0) and (2, 0); one label of two pixels 1 off its mean, one of one pixel."""
    embeddings = torch.tensor([[0.0, 1.0], [0.0, -1.0], [2.0, 0.0]])
    loss = discriminative_loss(embeddings, torch.tensor([0, 0, 7]), pull_margin=0.5, push_margin=1.5, centre_weight=0.1)
    assert loss.item() == pytest.approx(0.25 / 2 + (3 - 2) ** 2 + 0.1 * 1.0, rel=1e-4)


def test_discriminative_loss_separates_by_descent() -> None:
    embeddings, labels = _pixels(200, 4)
    embeddings.requires_grad_()
    descent = torch.optim.Adam([embeddings], lr=0.1)
    for _ in range(150):
        descent.zero_grad()
        loss = discriminative_loss(embeddings, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        descent.step()
    means = torch.stack([embeddings[labels == label].mean(dim=0) for label in range(4)])
    apart = torch.cdist(means, means)[~torch.eye(4, dtype=torch.bool)]
    spread = (embeddings - means[labels]).norm(dim=1)
    assert spread.max() < 0.8
    assert apart.min() > 2.8
    assert discriminative_loss(torch.zeros(0, 3), torch.zeros(0)).item() == 0
