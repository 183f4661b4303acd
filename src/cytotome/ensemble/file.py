"""The ensemble file: models, their fusion, subsequent steps and a card, as YAML next to the models."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cytotome.ensemble.calibration import ScoreCurve
from cytotome.ensemble.cell_type import TypeClassifier
from cytotome.ensemble.instances import InstanceFusion
from cytotome.ensemble.steps import parse_steps
from cytotome.errors import ConfigError, ModelError, describe
from cytotome.io.files import atomic_path
from cytotome.models.card import Card
from cytotome.models.registry import ENSEMBLE_SUFFIXES
from cytotome.outputs.tta import Tta

FORMAT = 1


class TtaSettings(BaseModel):
    """Views of an image, as :class:`cytotome.outputs.tta.Tta`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symmetries: bool = True
    scales: tuple[float, ...] = ()
    gains: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.views()
        return self

    def views(self) -> Tta:
        """Returns the validated views."""
        return Tta(self.symmetries, self.scales, self.gains)


class Member(BaseModel):
    """One model of an ensemble.

    Attributes:
        model: path of its file, relative to the ensemble file, or the name of a bundled model.
        digest: the model's hash, checked when the ensemble is opened; empty to skip the check.
        weight: weight of its votes.
        group: the maps of members of the same group, all of one family, are averaged and decoded together, by the
            decoder of the first member; without a group, a member's instances are fused with those of the others.
        tta: views of the image; true for all symmetries.
        parameters: parameters of its decoder that replace those of its file.
        curve: maps its scores to expected precision.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1)
    digest: str = ""
    weight: float = Field(default=1.0, gt=0)
    group: str = ""
    tta: bool | TtaSettings = False
    parameters: dict[str, Any] = {}
    curve: ScoreCurve | None = None

    @property
    def views(self) -> bool | Tta:
        """Returns the argument ``tta`` of :meth:`cytotome.inference.model.Model.segment`."""
        return self.tta if isinstance(self.tta, bool) else self.tta.views()


class EnsembleFile(BaseModel):
    """The content of an ensemble file.

    Attributes:
        format: version of the file format.
        members: the models, at least one.
        fusion: fusion of their instances.
        by_class: fields of ``fusion`` for images of one cell type.
        cell_type: ``majority`` of the instances, or a classifier.
        steps: steps after fusion, in order, see :mod:`cytotome.ensemble.steps`.
        card: origin and scores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    members: tuple[Member, ...] = Field(min_length=1)
    fusion: InstanceFusion = InstanceFusion()
    by_class: dict[str, dict[str, Any]] = {}
    cell_type: Literal["majority"] | TypeClassifier = "majority"
    steps: tuple[str | dict[str, dict[str, Any] | None], ...] = ()
    card: Card = Card()

    @field_validator("steps")
    @classmethod
    def _known_steps(cls, steps: tuple[Any, ...]) -> tuple[Any, ...]:
        parse_steps(steps)
        return steps

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.by_class:
            self.fusion_of(name)
        return self

    def fusion_of(self, cell_type: str) -> InstanceFusion:
        """Returns the fusion for images of one cell type."""
        return InstanceFusion.model_validate({**self.fusion.model_dump(), **self.by_class.get(cell_type, {})})

    def groups(self) -> list[list[int]]:
        """Positions of the members that are decoded together, in order of appearance."""
        groups: dict[object, list[int]] = {}
        for position, member in enumerate(self.members):
            groups.setdefault(member.group or position, []).append(position)
        return list(groups.values())

    @property
    def digest(self) -> str:
        """SHA-256 of everything that determines the results, including the models' hashes."""
        content = self.model_dump(mode="json", exclude={"card"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_ensemble(path: str | os.PathLike[str]) -> bool:
    """Whether the name is that of an ensemble file."""
    return Path(path).suffix.lower() in ENSEMBLE_SUFFIXES


def read_ensemble(path: str | os.PathLike[str]) -> EnsembleFile:
    """Reads and checks an ensemble file.

    Raises:
        ModelError: if it cannot be read or is not valid; all errors are listed.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: the ensemble file cannot be read ({error.strerror}); check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path}: not a YAML file ({' '.join(str(error).split())[:120]}); fix it or write it again"
        ) from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: an ensemble file must contain members, fusion and card; see the docs on ensembles")
    if isinstance(content.get("format"), int) and content["format"] > FORMAT:
        raise ModelError(
            f"{path}: written in ensemble format {content['format']}, this version reads {FORMAT}; upgrade cytotome"
        )
    try:
        return EnsembleFile.model_validate(content)
    except ValidationError as error:
        raise ModelError(f"{path}: {'; '.join(describe(error))}") from None
    except ConfigError as error:  # from steps and views
        raise ModelError(f"{path}: {error}") from None


def save_ensemble(path: str | os.PathLike[str], ensemble: EnsembleFile) -> None:
    """Writes an ensemble file atomically; defaults are omitted."""
    import yaml

    content = {"format": FORMAT, **ensemble.model_dump(mode="json", exclude_defaults=True)}
    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False, width=110), encoding="utf-8")
