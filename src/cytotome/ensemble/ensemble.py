"""Several models that a user holds as one: images in, instances out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from pydantic import ValidationError

from cytotome.ensemble.cell_type import TypeClassifier, majority_type
from cytotome.ensemble.file import EnsembleFile
from cytotome.ensemble.instances import InstanceFusion, fuse_instances
from cytotome.ensemble.maps import check_can_average
from cytotome.ensemble.steps import apply_steps
from cytotome.errors import ConfigError, CytotomeError
from cytotome.inference.inputs import ImageLike, is_one, several, to_image
from cytotome.inference.lanes import process_in_lanes
from cytotome.inference.model import Model
from cytotome.inference.scale import CellScale, at_known_size, resized_image, resized_instances
from cytotome.inference.teller import Teller
from cytotome.models.card import Card
from cytotome.models.cell_size import CellSizes
from cytotome.models.familiar import of_unknown_type
from cytotome.models.look import Look
from cytotome.outputs.tiling import TILE, TileWatch
from cytotome.outputs.tta import Tta
from cytotome.types import Image, Instances, OutputSpec

Result = TypeVar("Result")


class Ensemble:
    """Models, how they are fused, and what is done after. Its methods may be called from several threads.

    Attributes:
        file: as it was read.
        models: one a member.
    """

    def __init__(self, file: EnsembleFile, models: Sequence[Model]) -> None:
        """Takes built parts; :func:`cytotome.ensemble.load.load_ensemble` builds them.

        Raises:
            ConfigError: where members of one group cannot have their maps averaged, or a parameter is unknown.
        """
        if len(models) != len(file.members):
            raise ConfigError(f"ensemble: expected {len(file.members)} models, one a member, got {len(models)}")
        self.file = file
        self.models = tuple(models)
        self._tell = Teller(self.look)
        for member, model in zip(file.members, models, strict=True):
            model.override(**member.parameters)
        for group in file.groups():
            if len(group) > 1:
                check_can_average([models[i].kind for i in group])
                if len({(models[i].family.name, models[i].file.config.class_names) for i in group}) > 1:
                    raise ConfigError("ensemble: members of one group must be of one family and know the same classes")

    @property
    def hash(self) -> str:
        """SHA-256 of the ensemble and of its models."""
        return self.file.model_copy(
            update={
                "members": tuple(
                    member.model_copy(update={"model": "", "digest": model.hash})
                    for member, model in zip(self.file.members, self.models, strict=True)
                )
            }
        ).hash

    @property
    def method(self) -> str:
        """The families of the members."""
        return "ensemble of " + ", ".join(model.method for model in self.models)

    @property
    def card(self) -> Card:
        """Origin and merits."""
        return self.file.card

    @property
    def maps(self) -> tuple[OutputSpec, ...]:
        """None: members differ in theirs."""
        return ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of its instances."""
        return self.models[0].class_names

    def watch_tiles(self, watch: TileWatch | None) -> None:
        """Has ``watch`` called after each tile that a model has seen, as :meth:`Model.watch_tiles`."""
        for model in self.models:
            model.watch_tiles(watch)

    @property
    def cell_sizes(self) -> CellSizes | None:
        """Those that the ensemble's card states, else those of its first model."""
        return self.card.cell_sizes or self.models[0].card.cell_sizes

    @property
    def look(self) -> Look | None:
        """The kind of images that the ensemble's card states, else that of its first model.

        The polarity of a model is judged by scores of its own, which fusion changes: an ensemble has none.
        """
        look = self.card.look or self.models[0].look
        return look if look is None or len(self.models) == 1 else look.model_copy(update={"polarity": None})

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return self.models[0].device

    @property
    def precision(self) -> torch.dtype:
        """In which type the networks compute."""
        return self.models[0].precision

    @property
    def parameters(self) -> InstanceFusion:
        """The parameters of the fusion."""
        return self.file.fusion

    def override(self, **parameters: Any) -> EnsembleFile:
        """The ensemble with some parameters of its fusion replaced, those of cell types too.

        Raises:
            ConfigError: where one is unknown or out of range; all faults are named.
        """
        try:
            fusion = InstanceFusion.model_validate({**self.file.fusion.model_dump(), **parameters})
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            names = ", ".join(InstanceFusion.model_fields)
            raise ConfigError(f"fusion parameters: {faults}; there are {names}") from None
        by_class = {
            name: {key: value for key, value in values.items() if key not in parameters}
            for name, values in self.file.by_class.items()
        }
        return self.file.model_copy(update={"fusion": fusion, "by_class": by_class})

    def segment(
        self,
        images: Any,
        *,
        tta: bool | Tta = False,
        tile: int = TILE,
        scale: float | None = None,
        diameter: float | None = None,
        **parameters: Any,
    ) -> Any:
        """The cells of an image, or of each of several, as :meth:`Model.segment`.

        Args:
            images: as there.
            tta: views for the members that name none themselves.
            tile, scale, diameter: as there.
            **parameters: override those of the fusion.
        """
        if not is_one(images):
            return list(self.segment_many(images, tta=tta, tile=tile, scale=scale, diameter=diameter, **parameters))
        image = to_image(images)
        cells = self._segment(image, self.override(**parameters), tta, tile, CellScale(scale, diameter))
        return self._tell(image, cells)

    def segment_many(self, images: Iterable[ImageLike], **options: Any) -> Iterator[Instances]:
        """The cells of each image of a stream, in order; an error is raised at its image's turn."""
        for outcome in self.process_many(images, self._tell, **options):
            if isinstance(outcome, CytotomeError):
                raise outcome
            yield outcome

    def process_many(
        self,
        images: Iterable[ImageLike],
        then: Callable[[Image, Instances], Result],
        *,
        tta: bool | Tta = False,
        tile: int = TILE,
        scale: float | None = None,
        diameter: float | None = None,
        workers: int | None = None,
        **parameters: Any,
    ) -> Iterator[Result | CytotomeError]:
        """``then(image, cells)`` of each image of a stream, as :meth:`Model.process_many`."""
        chosen, size = self.override(**parameters), CellScale(scale, diameter)

        def one(source: ImageLike) -> Result | CytotomeError:
            try:
                image = to_image(source)
                return then(image, self._segment(image, chosen, tta, tile, size))
            except CytotomeError as error:
                return error

        def process(batch: Sequence[ImageLike]) -> list[Result | CytotomeError]:
            return [one(source) for source in batch]

        return process_in_lanes(process, several(images), self.device, workers=workers)

    def member_instances(self, image: ImageLike, *, tta: bool | Tta = False, tile: int = TILE) -> list[Instances]:
        """What each group of members finds, before calibration and fusion."""
        picture = to_image(image)
        return [self._group_instances(group, picture, tta, tile) for group in self.file.groups()]

    def _group_instances(self, group: Sequence[int], image: Image, tta: bool | Tta, tile: int) -> Instances:
        members = [self.file.members[position] for position in group]
        models = [self.models[position] for position in group]
        outputs = [
            model.outputs(image, tta=member.views or tta, tile=tile)
            for member, model in zip(members, models, strict=True)
        ]
        fused = models[0].kind.mean(outputs, [member.weight for member in members])
        return models[0].decode(fused, **members[0].parameters)

    def _segment(self, image: Image, file: EnsembleFile, tta: bool | Tta, tile: int, size: CellScale) -> Instances:
        def find(picture: Image) -> Instances:
            found = self.member_instances(picture, tta=tta, tile=tile)
            return self._checked(fuse_members(found, file), found)

        return self._at_scale(image, size, find)

    def _checked(self, cells: Instances, found: Sequence[Instances]) -> Instances:
        """The fused cells, of unknown type where the ensemble's card says so or, without one, half of the models.

        Each model judges what it found itself, above its own threshold, since its card was measured on that.
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

    def _at_scale(self, image: Image, size: CellScale, find: Callable[[Image], Instances]) -> Instances:
        scale = size.known(image, self.cell_sizes)
        if scale is None and self.cell_sizes is not None:
            return at_known_size(find(image), image, self.cell_sizes, find)
        return resized_instances(find(resized_image(image, scale or 1.0)), image.shape)


def fuse_members(found: Sequence[Instances], file: EnsembleFile) -> Instances:
    """From what each group of members found in one image to the ensemble's instances.

    Args:
        found: one a group.
        file: curves, fusion, cell type and steps.
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
    """The cell type of an image, as the ensemble tells it."""
    if isinstance(file.cell_type, TypeClassifier):
        return file.cell_type.predict(instances)
    return majority_type(instances)
