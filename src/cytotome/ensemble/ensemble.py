"""An ensemble of models: converts images to instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import ValidationError

from cytotome.ensemble.cell_type import TypeClassifier, majority_type
from cytotome.ensemble.file import EnsembleFile
from cytotome.ensemble.instances import InstanceFusion, fuse_instances
from cytotome.ensemble.maps import check_can_average
from cytotome.ensemble.steps import apply_steps
from cytotome.errors import ConfigError, describe
from cytotome.inference.inputs import ImageLike, to_image
from cytotome.inference.model import Model
from cytotome.inference.passes import Finder, Pass, Prediction
from cytotome.inference.segmenter import Segmenter
from cytotome.models.card import Card
from cytotome.models.cell_size import CellSizes
from cytotome.models.familiar import of_unknown_type
from cytotome.models.look import Look
from cytotome.outputs.tiling import TILE
from cytotome.outputs.tta import Tta
from cytotome.types import Image, Instances, OutputSpec


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(Segmenter):
    """Several models, their fusion and the steps after it; created by :func:`cytotome.ensemble.load.load_ensemble`.

    Attributes:
        file: content of the ensemble file.
        models: one model per member.

    Raises:
        ConfigError: if the maps of the members of a group cannot be averaged, or a parameter is unknown.
    """

    file: EnsembleFile
    models: Sequence[Model]

    def __post_init__(self) -> None:
        file, models = self.file, self.models
        if len(models) != len(file.members):
            raise ConfigError(f"ensemble: expected {len(file.members)} models, one per member, got {len(models)}")
        for member, model in zip(file.members, models, strict=True):
            model.override(**member.parameters)
        for group in file.groups():
            if len(group) > 1:
                check_can_average([models[i].kind for i in group])
                if len({(models[i].method, models[i].class_names) for i in group}) > 1:
                    raise ConfigError("ensemble: members of one group must have the same family and the same classes")

    def __repr__(self) -> str:
        precision = str(self.precision).removeprefix("torch.")
        return (
            f"Ensemble({self.card.name!r}, {' + '.join(one.method for one in self.models)}, {self.device}, {precision})"
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the ensemble and its models."""
        return self.file.model_copy(
            update={
                "members": tuple(
                    member.model_copy(update={"model": "", "digest": model.digest})
                    for member, model in zip(self.file.members, self.models, strict=True)
                )
            }
        ).digest

    @property
    def method(self) -> str:
        """Families of the members."""
        return "ensemble of " + ", ".join(model.method for model in self.models)

    @property
    def card(self) -> Card:
        """Card with origin and scores."""
        return self.file.card

    @property
    def maps(self) -> tuple[OutputSpec, ...]:
        """Empty, since the maps of the members differ."""
        return ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of its instances."""
        return self.models[0].class_names

    @property
    def cell_sizes(self) -> CellSizes | None:
        """The sizes in the ensemble's card, else those of its first model."""
        return self.card.cell_sizes or self.models[0].card.cell_sizes

    @property
    def look(self) -> Look | None:
        """The kind of images in the ensemble's card, else that of its first model."""
        return self.card.look or self.models[0].look

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return self.models[0].device

    @property
    def precision(self) -> torch.dtype:
        """Precision of the networks."""
        return self.models[0].precision

    @property
    def parameters(self) -> InstanceFusion:
        """The parameters of the fusion."""
        return self.file.fusion

    def override(self, **parameters: Any) -> EnsembleFile:
        """Returns the ensemble file with some parameters of the fusion replaced; overrides of these by cell type are
        dropped.

        Raises:
            ConfigError: if one is unknown or out of range; all errors are listed.
        """
        try:
            fusion = InstanceFusion.model_validate({**self.file.fusion.model_dump(), **parameters})
        except ValidationError as error:
            names = ", ".join(InstanceFusion.model_fields)
            raise ConfigError(f"fusion parameters: {'; '.join(describe(error))}; there are {names}") from None
        by_class = {
            name: {key: value for key, value in values.items() if key not in parameters}
            for name, values in self.file.by_class.items()
        }
        return self.file.model_copy(update={"fusion": fusion, "by_class": by_class})

    def finder(self, how: Pass, **parameters: Any) -> Finder:
        """Returns a function that finds the instances of images, at their given size; it keeps no outputs.

        Raises:
            ConfigError: if a parameter is unknown or out of range.
        """
        file = self.override(**parameters)

        def find(images: Sequence[Image], sizes: Sequence[tuple[int, int]]) -> list[Prediction]:
            found = zip(images, self._member_instances(images, how), strict=True)
            return [Prediction(image, self._typed(fuse_members(own, file), own)) for image, own in found]

        return find

    def uncalibrated(self, image: Image, cells: Instances) -> Instances:
        """Returns the cells if the ensemble's card has a look, else those of the first model, whose look is used."""
        return cells if self.card.look is not None else self.models[0].predict(image, scale=1).instances

    def member_instances(self, image: ImageLike, *, tta: bool | Tta = False, tile: int = TILE) -> list[Instances]:
        """Returns the instances of each group of members, before calibration and fusion."""
        return self._member_instances([to_image(image)], Pass(tta, tile))[0]

    def _member_instances(self, images: Sequence[Image], how: Pass) -> list[list[Instances]]:
        """Returns, for each image, the instances of each group of members; images of one size share a batch."""
        groups = [self._group_instances(group, images, how) for group in self.file.groups()]
        return [list(found) for found in zip(*groups, strict=True)]

    def _group_instances(self, group: Sequence[int], images: Sequence[Image], how: Pass) -> list[Instances]:
        members = [self.file.members[position] for position in group]
        models = [self.models[position] for position in group]
        outputs = [
            model.outputs_of(images, replace(how, tta=member.views or how.tta))
            for member, model in zip(members, models, strict=True)
        ]
        weights = [member.weight for member in members]
        return [
            models[0].decode(models[0].kind.mean(of_image, weights), **members[0].parameters)
            for of_image in zip(*outputs, strict=True)
        ]

    def _typed(self, cells: Instances, found: Sequence[Instances]) -> Instances:
        """Returns the fused cells, of unknown type if the ensemble's card or, without one, half of the models doubt the
        type.

        Each model judges its own cells above its own threshold, as its card was measured on those.
        """
        if self.card.cell_types is not None:
            return self.card.cell_types.checked(cells)
        doubts = []
        for group, own in zip(self.file.groups(), found, strict=True):
            model = self.models[group[0]]
            if model.card.cell_types is not None:
                sure = own.select(own.scores >= model.parameters.min_score)
                doubts.append(model.card.cell_types.doubts(sure))
        return of_unknown_type(cells) if doubts and 2 * sum(doubts) >= len(doubts) else cells


def fuse_members(found: Sequence[Instances], file: EnsembleFile) -> Instances:
    """Fuses the instances of each group of members in one image to those of the ensemble.

    Args:
        found: instances of each group.
        file: provides curves, fusion, cell type and steps.
    """
    groups = file.groups()
    curves = [file.members[group[0]].curve for group in groups]
    calibrated = [
        cells if curve is None else curve.calibrated(cells) for cells, curve in zip(found, curves, strict=True)
    ]
    weights = [sum(file.members[position].weight for position in group) / len(group) for group in groups]
    fusion = file.fusion
    if file.by_class:
        fusion = file.fusion_of(image_type(fuse_instances(calibrated, fusion, weights), file))
    return apply_steps(fuse_instances(calibrated, fusion, weights), file.steps)


def image_type(instances: Instances, file: EnsembleFile) -> str:
    """The cell type of an image, as determined by the ensemble."""
    if isinstance(file.cell_type, TypeClassifier):
        return file.cell_type.predict(instances)
    return majority_type(instances)
