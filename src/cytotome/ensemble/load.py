"""Loading of models and ensembles by name or path."""

from __future__ import annotations

import os
from pathlib import Path

from cytotome.ensemble.ensemble import Ensemble
from cytotome.ensemble.file import EnsembleFile, Member, is_ensemble, read_ensemble
from cytotome.errors import ModelError
from cytotome.inference.model import Model, load_single_model
from cytotome.inference.segmenter import Segmenter
from cytotome.models.registry import bundled_ensembles, bundled_models, find_model


def load_model(name_or_path: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto") -> Segmenter:
    """Loads a bundled model or ensemble by name, a model file, or an ensemble file (``.yaml``).

    Args:
        name_or_path: name (``"neurons"``) or path.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto`` (bfloat16 if the hardware supports it), ``float32`` or ``bfloat16``.

    Raises:
        ModelError: if the model does not exist, or a file is damaged.
        ConfigError: if the device or precision is not available.
    """
    name_or_path = bundled_ensembles().get(str(name_or_path), name_or_path)
    if is_ensemble(name_or_path):
        return load_ensemble(name_or_path, device=device, precision=precision)
    return load_single_model(name_or_path, device=device, precision=precision)


def load_ensemble(path: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto") -> Ensemble:
    """Loads an ensemble from its file, with its models.

    Raises:
        ModelError: if the file or one of its models is missing or damaged, or a model has changed.
        ConfigError: if members cannot be fused.
    """
    file = read_ensemble(path)
    models: dict[Path, Model] = {}
    chosen = []
    for member in file.members:
        place = member_path(member, Path(path).parent)
        if place not in models:
            models[place] = load_single_model(place, device=device, precision=precision)
        model = models[place]
        if member.digest and member.digest != model.digest:
            raise ModelError(
                f"{path}: {member.model} has the hash {model.digest[:12]}, the ensemble was made of "
                f"{member.digest[:12]}; restore that model or make the ensemble again"
            )
        chosen.append(model)
    return Ensemble(file, chosen)


def member_path(member: Member, folder: Path) -> Path:
    """Returns the file of a member; a path is relative to the ensemble's folder.

    Raises:
        ModelError: if there is none.
    """
    if member.model in bundled_models():
        return find_model(member.model)
    return find_model(folder / member.model)


def describe_members(file: EnsembleFile) -> str:
    """Describes each member in one readable line."""
    lines = []
    for member in file.members:
        parts = [
            f"weight {member.weight:g}",
            f"group {member.group}" if member.group else "",
            "tta" if member.tta else "",
        ]
        lines.append(f"member    {member.model} ({', '.join(part for part in parts if part)})")
    return "\n".join(lines)
