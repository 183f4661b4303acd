"""The family contract: what a segmentation method must provide, as a frozen dataclass of functions.

A family is one folder under :mod:`cytotome.families` whose ``__init__`` defines ``FAMILY``. Engine files never name a
family and only use this contract. ``net`` is always the network returned by the family's ``build``. Nothing in this
module imports torch: its types are imported for type checking only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, Protocol, Self, TypeAlias, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails

from cytotome.types import AnyArray, Instances, OutputSpec, Sample

if TYPE_CHECKING:
    import torch

    from cytotome.outputs.canvas import Canvas
    from cytotome.outputs.tiling import TileWatch
    from cytotome.outputs.tta import Tta

Batch: TypeAlias = "Mapping[str, torch.Tensor]"
"""``image`` ``(B, C, H, W)`` float32, the family's targets with a leading B, ``valid`` ``(B, 1, H, W)`` float32 (0 for
pixels that are excluded from the loss), ``labelled`` ``(B,)`` bool, ``cell_type`` ``(B,)`` int64 (-1 unknown). Targets
whose names start with ``PER_INSTANCE`` concatenate the instances of all crops; ``instances`` ``(B,)`` int64 is then the
number of instances of each crop."""

PER_INSTANCE = "instance."
"""Prefix of the names of targets of shape ``(N, ...)``, with one row per instance."""

Losses: TypeAlias = "Mapping[str, torch.Tensor]"
"""Named scalars; ``total`` is minimised, the others are only logged."""

Stream = Literal["labelled", "unlabelled"]
OptimiserName = Literal["adamw", "adam", "rmsprop", "sgd"]


SIZE_RANGE = 5 / 3
"""Maximum factor by which an image is enlarged or reduced further to bring its cells to ``cell_size``."""


class FamilyConfig(BaseModel):
    """Base class of the configs of all families; a family adds its own fields.

    Attributes:
        class_names: cell types that the network distinguishes, at least one.
        channels: channels of the network's input.
        input_scale: factor by which an image is enlarged before it is passed to the network.
        cell_size: size (square root of the area), in pixels of the network's input, to which the median cell of each
            image is scaled: a first pass at ``input_scale`` measures the cells, and a second pass rescales the image,
            by a factor of at most 5/3. None to always use ``input_scale``. In training, applied to the fraction of
            crops given by ``sampling.sized`` of the recipe.
        offset: shift in pixels, down and right, of the cells against their masks in the data whose masks are to be
            reproduced (``sampling.sources.NAME.offset`` of a recipe). Instances are shifted by it up and left.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    class_names: tuple[str, ...] = Field(default=("cell",), min_length=1)
    channels: int = Field(default=1, ge=1)
    input_scale: float = Field(default=1.0, gt=0)
    cell_size: float | None = Field(default=None, gt=0)
    offset: tuple[float, float] = (0.0, 0.0)

    def trained(self) -> Self:
        """Returns the config for a network whose weights are loaded: ``pretrained``, if the family has it, is off."""
        return self.model_copy(update={"pretrained": False}) if "pretrained" in type(self).model_fields else self

    def size_factor(self, areas: AnyArray, scale: float) -> float:
        """Returns the further enlargement of an image that brings its median cell to ``cell_size``; 1 without cells.

        Args:
            areas: ``(N,)`` areas of its cells in pixels of the image.
            scale: factor by which the image is already enlarged.
        """
        if self.cell_size is None or not len(areas):
            return 1.0
        factor = self.cell_size / (scale * float(np.median(np.sqrt(areas))))
        return min(max(factor, 1 / SIZE_RANGE), SIZE_RANGE)


class DecodeParameters(BaseModel):
    """Base class of the parameters of all decoders; a family adds its own fields. They are stored in the model file.

    Attributes:
        min_score: instances of a lower score are dropped.
        min_area: instances of fewer pixels are dropped.
        by_class: for images of one cell type, by its name: values that override the other fields.
        search: values that a tuner tries, by field name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_score: float = Field(default=0.0, ge=0, le=1)
    min_area: int = Field(default=15, ge=0)
    by_class: dict[str, dict[str, float]] = {}

    search: ClassVar[dict[str, tuple[float, ...]]] = {}

    @field_validator("score_weights", check_fields=False)
    @classmethod
    def _check_score_weights(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        """Checks that there is one weight per feature, as in the family's default."""
        expected = len(cls.model_fields["score_weights"].default)
        if len(weights) != expected:
            raise ValueError(f"must be {expected} numbers, one for each feature, got {len(weights)}")
        return weights

    @model_validator(mode="after")
    def _check_types(self) -> Self:
        faults: list[InitErrorDetails] = []
        for name in self.by_class:
            try:
                self.of_type(name)
            except ValidationError as error:
                faults += [_placed(fault, "by_class", name) for fault in error.errors()]
        if faults:
            raise ValidationError.from_exception_data(type(self).__name__, faults)
        return self

    def changed(self, **values: object) -> Self:
        """Returns the parameters with some fields replaced; overrides of these fields by cell type are dropped.

        Raises:
            pydantic.ValidationError: if a field is unknown or out of range.
        """
        content = self.model_dump()
        by_class = {
            kind: {name: value for name, value in own.items() if name not in values}
            for kind, own in content["by_class"].items()
        }
        return type(self).model_validate({**content, "by_class": by_class, **values})

    def of_type(self, cell_type: str) -> Self:
        """Returns the parameters for images of one cell type, with the overrides of ``by_class`` applied."""
        chosen = self.by_class.get(cell_type)
        general = self.model_dump(exclude={"by_class"})
        return self if chosen is None else type(self).model_validate({**general, **chosen})


def _placed(fault: ErrorDetails, *place: str) -> InitErrorDetails:
    """The same error, for a field within ``place``."""
    return InitErrorDetails(
        type=fault["type"], loc=(*place, *fault["loc"]), input=fault["input"], ctx=fault.get("ctx", {})
    )


Config = TypeVar("Config", bound=FamilyConfig)
Parameters = TypeVar("Parameters", bound=DecodeParameters)
Network = TypeVar("Network", bound="torch.nn.Module")
Batched = TypeVar("Batched")
Output = TypeVar("Output")


@dataclass(frozen=True)
class Phase(Generic[Network]):
    """An optimiser and the loss that it minimises.

    Attributes:
        name: used in logs, as ``<stage>/<phase>/<loss>``.
        parameters: returns the parameters of ``net`` that this phase updates.
        loss: ``loss(net, batch)`` runs the network and returns named scalars, including ``total``.
        every: the phase runs on every n-th batch.
        optimiser, learning_rate, weight_decay: of this phase, overriding the recipe; None to use the recipe's.
        after_step: called with ``net`` after each optimiser step, for example to clip weights.
    """

    name: str
    parameters: Callable[[Network], Iterable[torch.nn.Parameter]]
    loss: Callable[[Network, Batch], Losses]
    every: int = 1
    optimiser: OptimiserName | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    after_step: Callable[[Network], None] | None = None


@dataclass(frozen=True)
class Stage(Generic[Network]):
    """A part of a training run with its own phases; stages run one after the other.

    Attributes:
        name: identity within the family.
        phases: run one after the other on each batch.
        share: weight of this stage when the run's steps are divided among the stages.
        streams: the kinds of samples a batch is drawn from.
    """

    name: str
    phases: tuple[Phase[Network], ...]
    share: float = 1.0
    streams: tuple[Stream, ...] = ("labelled",)


class Outputs(Protocol[Batched, Output]):
    """The kind of a network's outputs and the operations of an engine on them; :mod:`cytotome.outputs` has both kinds.

    ``Batched`` is the output for a batch ``(B, C, H, W)``, ``Output`` the output for one image, as the decoder takes
    it.
    """

    @property
    def specs(self) -> tuple[OutputSpec, ...]:
        """The dense maps; empty if the network predicts instances."""
        ...

    @property
    def joins_tiles(self) -> bool:
        """Whether tiles can be stitched before decoding; embeddings cannot, as they differ from tile to tile."""
        ...

    def tiled(
        self, predict: Callable[[torch.Tensor], Batched], *, tile: int, stride: int, watch: TileWatch | None = None
    ) -> Callable[[torch.Tensor], Batched]:
        """Returns a predictor that processes tiles of at most ``tile`` x ``tile`` pixels and calls ``watch`` after
        each.

        Raises:
            ConfigError: if tiles are too small to overlap by one stride.
        """
        ...

    def augmented(
        self, predict: Callable[[torch.Tensor], Batched], tta: Tta, *, stride: int
    ) -> Callable[[torch.Tensor], Batched]:
        """Returns a predictor that combines the outputs for several views of each image."""
        ...

    def at_size(self, found: Batched, canvas: Canvas, size: tuple[int, int]) -> list[Output]:
        """Returns the outputs of each image of a batch, resized from the canvas to ``size`` (rows, columns)."""
        ...

    def why_no_mean(self) -> str:
        """Returns why outputs of several models cannot be averaged before decoding; empty if they can."""
        ...

    def mean(self, outputs: Sequence[Output], weights: Sequence[float]) -> Output:
        """Returns the weighted mean of the outputs of several models for one image.

        Raises:
            DataError: if the outputs are not compatible.
        """
        ...

    def why_no_difference(self) -> str:
        """Returns why the outputs of two networks cannot be compared; empty if they can."""
        ...

    def difference(self, found: Batched, expected: Batched) -> torch.Tensor:
        """Returns the distance between two networks' outputs for one batch, a differentiable scalar."""
        ...

    def to_arrays(self, output: Output) -> dict[str, AnyArray]:
        """Returns the outputs for one image as named arrays, to be stored in a file."""
        ...

    def from_arrays(self, arrays: Mapping[str, AnyArray]) -> Output:
        """Restores the outputs from the arrays of :meth:`to_arrays`."""
        ...


@dataclass(frozen=True)
class Family(Generic[Config, Parameters, Network, Batched, Output]):
    """One segmentation method.

    Attributes:
        name: name in recipes and model files.
        summary: one line that names the paper.
        config: type of its config.
        parameters: type of its decoder parameters.
        outputs: the kind of outputs that ``predict`` returns, ``Dense(specs)`` or ``Detections()`` of
            :mod:`cytotome.outputs`.
        build: returns a network with random weights.
        stride: the sides of the network's input must be multiples of it.
        targets: ``targets(instances, config)`` returns named ``(C, H, W)`` arrays; it runs after augmentation, in the
            workers. If the family predicts dense maps, the targets of the same names are the outputs of a perfect
            network, so ``decode(oracle(targets))`` is the representation ceiling. A target named ``PER_INSTANCE + ...``
            may have any number of rows.
        oracle: converts targets to the outputs of a perfect network, dense maps or instances.
        stages: the stages of its training.
        predict: ``predict(net, images)`` with images ``(B, C, H, W)`` returns named ``(B, C, H, W)`` tensors after
            activation (probabilities, dimensionless vectors), or a list of Instances with soft masks, before any are
            dropped.
        decode: ``decode(output, parameters, class_names)`` returns instances with scores; it does not use the network.
        ceiling: minimum mAP, averaged over the real images, of ``decode(oracle(targets(truth)))``, checked by tests.
        tile: largest side of the network's input, if it is made for windows of one size; None if any size works.
        calibrate: ``calibrate(pairs, parameters, class_names)`` fits the decoder parameters to pairs of outputs and
            truth; None if there is nothing to fit.
    """

    name: str
    summary: str
    config: type[Config]
    parameters: type[Parameters]
    outputs: Callable[[Config], Outputs[Batched, Output]]
    build: Callable[[Config], Network]
    stride: Callable[[Network], int]
    targets: Callable[[Instances, Config], dict[str, AnyArray]]
    oracle: Callable[[Mapping[str, AnyArray], Config], Output]
    stages: Callable[[Config], tuple[Stage[Network], ...]]
    predict: Callable[[Network, torch.Tensor], Batched]
    decode: Callable[[Output, Parameters, Sequence[str]], Instances]
    ceiling: float
    tile: Callable[[Network], int] | None = None
    calibrate: Callable[[Sequence[tuple[Output, Sample]], Parameters, Sequence[str]], Parameters] | None = None
