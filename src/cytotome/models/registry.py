"""Models by name: bundled models, and any file. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from cytotome.errors import ModelError
from cytotome.models.card import Card, inherited
from cytotome.models.header import BUNDLED, Header, read_header

SUFFIX = ".safetensors"
ENSEMBLE_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be loaded: its name, its file and the header of the file."""

    name: str
    path: Path
    header: Header


def bundled_models(folder: Path = BUNDLED) -> dict[str, Path]:
    """Files of the bundled models by name, sorted."""
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}")) if not path.name.startswith(".")}


def bundled_ensembles(folder: Path = BUNDLED) -> dict[str, Path]:
    """Files of the bundled ensembles by name, sorted."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml")) if not path.name.startswith(".")}


def ensemble_card(path: Path) -> Card:
    """Reads the card of a bundled ensemble, without importing what is needed to run it."""
    return Card.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))["card"])


def read_card(name_or_path: str | os.PathLike[str], folder: Path = BUNDLED) -> Card:
    """Reads the card of a model or ensemble by name or path; that of an ensemble includes facts inherited from its
    members.

    Raises:
        ModelError: if there is none, or a file is damaged.
    """
    path = bundled_ensembles(folder).get(str(name_or_path)) or find_model(name_or_path, folder)
    if path.suffix.lower() not in ENSEMBLE_SUFFIXES:
        return read_header(path).card
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        card = Card.model_validate(content.get("card", {}))
        members = [str(member["model"]) for member in content["members"]]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError):
        raise ModelError(f"{path}: not an ensemble file; choose a model or an ensemble that cytotome saved") from None
    bundled = bundled_models(folder)
    below = [read_card(name if name in bundled else path.parent / name, folder) for name in dict.fromkeys(members)]
    heritage = inherited([card, *below])
    return card.model_copy(update={"trained_on": heritage.trained_on, "licence": card.licence or heritage.licence})


def list_models(folder: Path = BUNDLED) -> tuple[ModelEntry, ...]:
    """Lists the models of a folder with their headers; by default, the bundled models."""
    return tuple(ModelEntry(name, path, read_header(path)) for name, path in bundled_models(folder).items())


def find_model(name_or_path: str | os.PathLike[str], folder: Path = BUNDLED) -> Path:
    """Returns the file of a bundled model or of a path.

    Raises:
        ModelError: if there is neither; the message lists the names.
    """
    bundled = bundled_models(folder)
    if isinstance(name_or_path, str) and name_or_path in bundled:
        return bundled[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        return path
    if str(name_or_path) in bundled_ensembles(folder):
        raise ModelError(f"{name_or_path}: is an ensemble; a single model is needed here, give one of its models")
    names = ", ".join([*bundled, *bundled_ensembles(folder)]) or "none is bundled"
    raise ModelError(f"{name_or_path}: neither a model file nor a bundled model ({names}); check the name or the path")
