"""The header of a model file: everything except the weights, read without torch.

A model file is a safetensors file (https://github.com/huggingface/safetensors): eight bytes with the length of a JSON
header, the header, the tensors. Its metadata has one entry, ``cytotome``, which is JSON itself.
"""

from __future__ import annotations

import json
import os
import struct
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from cytotome.data.normalise import Normalisation
from cytotome.errors import ModelError, describe
from cytotome.models.card import Card

FORMAT = 1
KEY = "cytotome"
BUNDLED = Path(__file__).parent / "bundled"
FACTS = BUNDLED / "facts.json"
"""Fields of bundled models' cards that were measured after their training, by digest (``scripts/bundled-facts``)."""

MAX_HEADER = 100_000_000
"""Maximum length of a header, as in safetensors itself."""


class Header(BaseModel):
    """The content of a model file without its weights.

    Attributes:
        format: version of the format; older versions can be read.
        family: name of the family.
        config: config of the family, as dumped by its type.
        parameters: parameters of the decoder, as dumped by their type.
        normalisation: conversion of grey levels to network input.
        card: origin and scores.
        digest: SHA-256 of the other fields and the weights, the model's hash.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int
    family: str
    config: dict[str, Any]
    parameters: dict[str, Any]
    normalisation: Normalisation
    card: Card
    digest: str


def read_header(path: str | os.PathLike[str]) -> Header:
    """Reads the header of a model file.

    Raises:
        ModelError: if the file is missing, damaged, of another kind or of a newer format.
    """
    return parse_header(path, read_content(path))


def read_content(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a model file without its weights, as JSON, if this version supports its format.

    Raises:
        ModelError: as in :func:`read_header`.
    """
    try:
        content = json.loads(_read_metadata(path))
    except ValueError as error:
        raise ModelError(f"{path}: the model's description is damaged ({error}); copy or download it again") from None
    version = content.get("format") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise ModelError(f"{path}: the model's description is damaged (no format); copy or download it again")
    if version > FORMAT:
        raise ModelError(
            f"{path}: written in model format {version}, this version reads up to {FORMAT}; upgrade cytotome"
        )
    assert isinstance(content, dict)
    return content


def parse_header(path: str | os.PathLike[str], content: dict[str, Any]) -> Header:
    """Validates ``content`` as a header; ``path`` is used in messages.

    Raises:
        ModelError: if fields are missing or of the wrong type.
    """
    try:
        header = Header.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(describe(error))
        raise ModelError(f"{path}: the model's description is damaged ({faults}); copy the file again") from None
    return header.model_copy(update={"card": _with_facts(header.card, header.digest)})


@cache
def _facts() -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = json.loads(FACTS.read_text(encoding="utf-8"))
    return facts


def _with_facts(card: Card, digest: str) -> Card:
    """Adds facts that were measured after its training to a bundled model's card; existing fields take precedence."""
    facts = _facts().get(digest)
    return Card.model_validate({**facts, **card.model_dump(exclude_defaults=True)}) if facts else card


def _read_metadata(path: str | os.PathLike[str]) -> str:
    """Returns the entry ``cytotome`` of a safetensors file's metadata, after checking the file's length."""
    try:
        with open(path, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            head = handle.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else MAX_HEADER + 1
            first = handle.read(1)
            if length > MAX_HEADER or first != b"{":
                raise ModelError(f"{path}: not a safetensors file; choose a model that cytotome saved")
            text = first + handle.read(length - 1)
    except OSError as error:
        raise ModelError(f"{path}: the model file cannot be read ({error.strerror}); check the path") from None
    try:
        header = json.loads(text)
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise ModelError(f"{path}: the model file is damaged; copy or download it again") from None
    if len(text) < length or size != 8 + length + end:
        raise ModelError(f"{path}: the model file is cut short or damaged; copy or download it again")
    metadata = header.get("__metadata__", {}).get(KEY)
    if not isinstance(metadata, str):
        raise ModelError(f"{path}: a safetensors file, but not a cytotome model; choose a model that cytotome saved")
    return metadata
