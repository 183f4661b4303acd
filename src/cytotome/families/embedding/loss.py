"""Losses of the embedding family."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from cytotome.contract import Batch
from cytotome.families.embedding.config import EmbeddingConfig
from cytotome.families.embedding.contrast import pixel_contrast
from cytotome.families.embedding.discriminative import discriminative_loss
from cytotome.families.embedding.samplers import sample_box, sample_contours, sample_uniform, sample_window
from cytotome.families.embedding.targets import BORDER
from cytotome.losses.cell_type import cell_type_loss


def embedding_loss(net: nn.Module, batch: Batch, config: EmbeddingConfig) -> dict[str, Tensor]:
    """Contrast of embeddings; cross entropy of cell against background, or of the parts; cross entropy of the type.

    Only pixels marked by ``batch["valid"]`` contribute.
    """
    outputs = net(batch["image"])
    valid, labels = batch["valid"], batch["labels"]
    embedding = _embedding_loss(outputs["embedding"], labels, valid, config)
    losses = {"embedding": embedding}
    pixels = valid.sum().clamp(min=1)
    if "parts" in outputs:
        weights = outputs["parts"].new_ones(3, dtype=torch.float32)
        weights[BORDER] = config.border_weight
        entropy = functional.cross_entropy(
            outputs["parts"].float(), batch["parts"][:, 0], weight=weights, reduction="none"
        )
        losses["cell"] = (entropy * valid[:, 0]).sum() / pixels
    else:
        entropy = functional.binary_cross_entropy_with_logits(
            outputs["cell"].float(), (labels > 0).float(), reduction="none"
        )
        losses["cell"] = (entropy * valid).sum() / pixels
    total = config.embedding_weight * embedding + config.cell_weight * losses["cell"]
    if "cell_type" in outputs:
        losses["cell_type"] = cell_type_loss(outputs["cell_type"].float(), batch["cell_type"], valid)
        total = total + config.type_weight * losses["cell_type"]
    return {**losses, "total": total}


def _embedding_loss(embeddings: Tensor, labels: Tensor, valid: Tensor, config: EmbeddingConfig) -> Tensor:
    """Mean over the crops of a batch."""
    losses = []
    for vectors, owners, counted in zip(embeddings, labels[:, 0], valid[:, 0] > 0, strict=True):
        pixels = vectors.flatten(1).T
        if config.loss == "discriminative":
            chosen = torch.nonzero((counted & (owners > 0)).reshape(-1))[:, 0]
            losses.append(_discriminative(pixels, owners, chosen, config))
        else:
            losses.append(_contrast(pixels, owners, counted, config))
    return torch.stack(losses).mean()


def _discriminative(pixels: Tensor, owners: Tensor, chosen: Tensor, config: EmbeddingConfig) -> Tensor:
    """Without the term for the lengths of the means, which are bounded on the unit sphere."""
    return discriminative_loss(
        pixels[chosen],
        owners.reshape(-1)[chosen],
        pull_margin=config.pull_margin,
        push_margin=config.push_margin,
        centre_weight=0.0,
    )


def _contrast(pixels: Tensor, owners: Tensor, counted: Tensor, config: EmbeddingConfig) -> Tensor:
    """Sum over the samplers of the mean over their sets."""
    compared = (owners > 0) if config.variant == "binary" else owners
    total = pixels.new_zeros(())
    for sample in _samplers(config):
        for _ in range(config.sets):
            chosen = sample(owners, counted)
            value = pixel_contrast(
                pixels[chosen], compared.reshape(-1)[chosen], config.temperature, balanced=config.balanced
            )
            total = total + value / config.sets
    return total


def _samplers(config: EmbeddingConfig) -> tuple[Callable[[Tensor, Tensor], Tensor], ...]:
    most = config.pixels
    by_name: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "uniform": lambda labels, valid: sample_uniform(labels, valid, most),
        "window": lambda labels, valid: sample_window(labels, valid, most, config.window_side),
        "box": lambda labels, valid: sample_box(labels, valid, most, config.box_padding),
        "contours": lambda labels, valid: sample_contours(
            labels, valid, most, config.contour_cells, config.contour_kernel
        ),
    }
    return tuple(by_name[name] for name in config.sampler.split("+"))
