"""One file per model: weights, config, decoder parameters, normalisation and card. Written atomically, never unpickled;
nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import safetensors.torch
import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from cytotome.contract import DecodeParameters, FamilyConfig
from cytotome.data.normalise import Normalisation
from cytotome.errors import ConfigError, ModelError, describe
from cytotome.families import AnyFamily, get_family
from cytotome.io.files import atomic_path
from cytotome.models.card import Card
from cytotome.models.header import FORMAT, KEY, parse_header, read_content

Content = TypeVar("Content", bound=BaseModel)


@dataclass(frozen=True, eq=False)
class ModelFile:
    """The content of a model file.

    Attributes:
        family: name of the family.
        config: config of the family.
        parameters: calibrated parameters of the decoder.
        normalisation: normalisation with which the network was trained.
        weights: the network's state dict.
        card: origin and scores.
        digest: SHA-256 of the content as it was read, empty before it is saved.
    """

    family: str
    config: FamilyConfig
    parameters: DecodeParameters
    normalisation: Normalisation
    weights: Mapping[str, Tensor]
    card: Card = field(default_factory=Card)
    digest: str = ""


def save_model(path: str | os.PathLike[str], model: ModelFile, *, half: bool = False) -> str:
    """Writes a model file atomically.

    Args:
        path: usually ends in ``.safetensors``.
        model: the content.
        half: round weights with at least two axes to float16 if they are within its range; biases and the statistics of
            normalisation layers keep 32 bits.

    Returns:
        The model's hash.

    Raises:
        ModelError: if a weight is not finite.
    """
    weights = {name: _stored(name, weight, half) for name, weight in sorted(model.weights.items())}
    content = {
        "format": FORMAT,
        "family": model.family,
        "config": model.config.model_dump(mode="json"),
        "parameters": model.parameters.model_dump(mode="json"),
        "normalisation": model.normalisation.model_dump(mode="json", exclude_none=True),  # older versions read it so
        "card": model.card.model_dump(mode="json"),
    }
    digest = content_digest(content, weights)
    description = json.dumps({**content, "digest": digest}, sort_keys=True)
    with atomic_path(path) as temporary:
        # Not with save_file, whose files only their owner can read.
        temporary.write_bytes(safetensors.torch.save(weights, metadata={KEY: description}))
    return digest


def read_model(path: str | os.PathLike[str], *, family: AnyFamily | None = None) -> ModelFile:
    """Reads a model file; no code in it is executed.

    Args:
        path: the file.
        family: the family to read it with, if it is not one of :func:`cytotome.families.family_names`.

    Raises:
        ModelError: if the file is missing, damaged, of another kind or of a newer format, or its family is not
            installed.
    """
    content = read_content(path)
    header = parse_header(path, content)
    try:
        weights = safetensors.torch.load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: the weights are damaged ({error}); copy or download it again") from None
    content.pop("digest")
    if content_digest(content, weights) != header.digest:
        raise ModelError(f"{path}: the content does not match its hash; copy or download it again")
    try:
        family = family or get_family(header.family)
    except ConfigError as error:
        raise ModelError(f"{path}: {error}") from None
    return ModelFile(
        family=family.name,
        config=_validated(path, family.config, header.config),
        parameters=_validated(path, family.parameters, header.parameters),
        normalisation=header.normalisation,
        weights=weights,
        card=header.card,
        digest=header.digest,
    )


def content_digest(content: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """SHA-256, as 64 hexadecimal digits, of a model's description and weights, regardless of their order."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name, weight in sorted(weights.items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _stored(name: str, weight: Tensor, half: bool) -> Tensor:
    weight = weight.detach().to("cpu", copy=True).contiguous()
    if not weight.is_floating_point():
        return weight
    if not torch.isfinite(weight).all():
        raise ModelError(f"the weight {name} is not finite; the training failed, train again")
    if half and weight.ndim >= 2 and weight.abs().amax() <= torch.finfo(torch.float16).max:
        return weight.half()
    return weight


def _validated(path: str | os.PathLike[str], kind: type[Content], content: Mapping[str, Any]) -> Content:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(describe(error))
        raise ModelError(f"{path}: {kind.__name__}: {faults}; upgrade cytotome") from None
