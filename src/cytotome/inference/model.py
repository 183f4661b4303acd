"""A model: converts images to instances."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import ValidationError

from cytotome.contract import DecodeParameters, FamilyConfig, Outputs
from cytotome.data.normalise import normalise
from cytotome.errors import ConfigError, ModelError, describe
from cytotome.families import AnyFamily, family_names, get_family
from cytotome.inference.device import choose_device, choose_precision
from cytotome.inference.inputs import ImageLike, to_image
from cytotome.inference.instance_tiles import segment_in_tiles
from cytotome.inference.passes import Finder, Pass, Prediction
from cytotome.inference.runner import Runner, Seen
from cytotome.inference.scale import CellScale, resized_image
from cytotome.inference.segmenter import Segmenter
from cytotome.models.card import Card
from cytotome.models.cell_size import CellSizes
from cytotome.models.file import ModelFile, read_model
from cytotome.models.look import Look
from cytotome.models.registry import find_model
from cytotome.outputs.tiling import TILE, round_up
from cytotome.outputs.tta import Tta
from cytotome.types import DenseMaps, FloatArray, Image, Instances, OutputSpec


@dataclass(frozen=True, eq=False, repr=False)
class Model(Segmenter):
    """A network with its decoder; created by :func:`load_single_model` and :func:`build_model`.

    Attributes:
        file: content of the model file: family, config, parameters, normalisation, card.
        runner: runs its network.
    """

    file: ModelFile
    runner: Runner

    def __repr__(self) -> str:
        precision = str(self.precision).removeprefix("torch.")
        return f"Model({self.card.name!r}, {self.method}, {self.device}, {precision})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the content of the file; the network is rebuilt on the same kind of device."""
        known = self.family.name in family_names() and get_family(self.family.name) is self.family
        precision = str(self.precision).removeprefix("torch.")
        return _rebuilt, (self.file, None if known else self.family, str(self.device), precision)

    @property
    def digest(self) -> str:
        """SHA-256 of the model's content, empty if it was never saved."""
        return self.file.digest

    @property
    def family(self) -> AnyFamily:
        """The family of the model."""
        return self.runner.family

    @property
    def method(self) -> str:
        """Name of the family."""
        return self.family.name

    @property
    def config(self) -> FamilyConfig:
        """The family's config."""
        return self.file.config

    @property
    def card(self) -> Card:
        """Card with origin and scores."""
        return self.file.card

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of its instances."""
        return self.config.class_names

    @property
    def kind(self) -> Outputs[Any, Any]:
        """Kind of its outputs."""
        return self.runner.kind

    @property
    def maps(self) -> tuple[OutputSpec, ...]:
        """The dense maps that it predicts, empty if it predicts instances."""
        return self.kind.specs

    @property
    def cell_sizes(self) -> CellSizes | None:
        """Sizes of the cells that it was trained on, None if not in its card."""
        return self.card.cell_sizes

    @property
    def look(self) -> Look | None:
        """The kind of images that it was trained on, None if not in its card."""
        return self.card.look

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self.runner.device

    @property
    def precision(self) -> torch.dtype:
        """Precision of the network."""
        return self.runner.precision

    @property
    def parameters(self) -> DecodeParameters:
        """The calibrated parameters of the decoder."""
        return self.file.parameters

    def without_offset(self) -> Model:
        """Returns the same model, sharing its network, without the config's offset of the cells."""
        return replace(self, file=replace(self.file, config=self.config.model_copy(update={"offset": (0.0, 0.0)})))

    def override(self, **parameters: Any) -> DecodeParameters:
        """Returns the calibrated parameters with some replaced; overrides of these by cell type are dropped.

        Raises:
            ConfigError: if a parameter is unknown or out of range; all errors are listed.
        """
        if not parameters:
            return self.parameters
        try:
            return self.parameters.changed(**parameters)
        except ValidationError as error:
            names = ", ".join(type(self.parameters).model_fields)
            raise ConfigError(f"decoder parameters: {'; '.join(describe(error))}; there are {names}") from None

    def predict_maps(
        self,
        image: ImageLike,
        *,
        tta: bool | Tta = False,
        tile: int = TILE,
        scale: float | None = None,
        diameter: float | None = None,
    ) -> DenseMaps:
        """Predicts the network's maps ``(C, H, W)`` float32 at the size of the image, for :meth:`decode`.

        Options are those of :meth:`segment`; the size of the cells is not estimated by a first pass.

        Raises:
            ConfigError: if the family predicts instances instead of maps.
        """
        if not self.maps:
            raise ConfigError(f"the family {self.method} predicts instances without maps; use segment")
        picture = to_image(image)
        factor = CellScale(scale, diameter).known(picture, self.cell_sizes) or 1.0
        how = Pass(tta, tile)
        _, maps = self.runner.outputs(self._seen([resized_image(picture, factor)], how), how, [picture.shape])[0]
        return maps  # type: ignore[no-any-return]

    def outputs(self, image: ImageLike, *, tta: bool | Tta = False, tile: int = TILE) -> Any:
        """Predicts the input of the family's decoder for one image: dense maps, or unfiltered instances."""
        return self.outputs_of([to_image(image)], Pass(tta, tile))[0]

    def outputs_of(self, images: Sequence[Image], how: Pass) -> list[Any]:
        """Predicts the input of the decoder for several images; images of one size share a batch."""
        return [outputs for (outputs,) in self.runner.outputs(self._seen(images, how), how)]

    def decode(self, outputs: Any, **parameters: Any) -> Instances:
        """Decodes :meth:`outputs` to instances, without the network; ``parameters`` override the calibrated ones."""
        return self.family.decode(outputs, self.override(**parameters), self.class_names)

    def uncalibrated(self, image: Image, cells: Instances) -> Instances:
        """Returns the cells unchanged, as their scores are those of the model."""
        return cells

    def finder(self, how: Pass, **parameters: Any) -> Finder:
        """Returns a function that finds the instances of images, at their given size, and checks their type.

        Raises:
            ConfigError: if a parameter is unknown or out of range.
        """
        chosen, types = self.override(**parameters), self.card.cell_types

        def find(images: Sequence[Image], sizes: Sequence[tuple[int, int]]) -> list[Prediction]:
            found = self._decoded(self._seen(images, how), sizes, chosen, how)
            return [
                Prediction(image, cells if types is None else types.checked(cells), outputs)
                for image, (cells, outputs) in zip(images, found, strict=True)
            ]

        return find

    def _seen(self, images: Sequence[Image], how: Pass) -> list[Seen]:
        """Prepares images for the network; if the config has a ``cell_size``, after a first pass over each."""
        config = self.config
        planes = [normalise(image, self.file.normalisation, config.channels) for image in images]
        seen = [self.runner.see(one, config.input_scale, config.offset) for one in planes]
        if config.cell_size is None:
            return seen
        first = self._decoded(seen, [], self.parameters, Pass(tile=how.tile, watch=how.watch))
        factors = [config.size_factor(cells.areas, config.input_scale) for cells, _ in first]
        return [  # rounded, so that images with similar cells share batches
            self.runner.see(one, config.input_scale * round(factor, 1), config.offset)
            for one, factor in zip(planes, factors, strict=True)
        ]

    def _decoded(
        self, seen: Sequence[Seen], sizes: Sequence[tuple[int, int]], parameters: DecodeParameters, how: Pass
    ) -> list[tuple[Instances, Any]]:
        """Returns the instances of each image and, if they are kept, the outputs at its ``sizes``, else None."""
        in_tiles = [not self.kind.joins_tiles and max(one.canvas.pixels.shape[1:]) > how.tile for one in seen]
        whole = [place for place, apart in enumerate(in_tiles) if not apart or how.keep]
        further = [[sizes[place] for place in whole]] if how.keep else []
        outputs = dict(zip(whole, self.runner.outputs([seen[place] for place in whole], how, *further), strict=True))
        found = []
        for place, one in enumerate(seen):
            own, *kept = outputs.get(place, (None,))
            if in_tiles[place]:
                cells = self._decoded_in_tiles(one, parameters, how)
            elif one.is_blank:
                cells = Instances.empty(one.size, self.class_names)
            else:
                cells = self.family.decode(own, parameters, self.class_names)
            found.append((cells, kept[0] if kept else None))
        return found

    def _decoded_in_tiles(self, seen: Seen, parameters: DecodeParameters, how: Pass) -> Instances:
        """Decodes the tiles of the image separately, since embeddings differ from tile to tile.

        If outputs are kept, they are therefore predicted again for the whole image, and differ from the input of the
        decoder.
        """
        scale = max(content / side for content, side in zip(seen.canvas.content, seen.size, strict=True))
        tile = round_up(how.tile, self.runner.stride)
        inside = replace(how, tile=tile, keep=False)

        def segment(planes: FloatArray) -> Instances:
            return self._decoded([self.runner.see(planes, scale, self.config.offset)], [], parameters, inside)[0][0]

        return segment_in_tiles(seen.planes, segment, int(tile / scale), how.watch)


def load_single_model(name_or_path: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto") -> Model:
    """Loads a bundled model by name (``"neurons"``) or a model file by path; not an ensemble.

    :func:`cytotome.ensemble.load.load_model` loads both.

    Args:
        name_or_path: name or path.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto`` (bfloat16 if the hardware supports it), ``float32`` or ``bfloat16``.

    Raises:
        ModelError: if there is no such model, or its file is damaged, of another kind or of a newer format.
        ConfigError: if the device or precision is not available.
    """
    return build_model(read_model(find_model(name_or_path)), device=device, precision=precision)


def build_model(
    file: ModelFile, *, family: AnyFamily | None = None, device: str = "auto", precision: str = "auto"
) -> Model:
    """Builds a model from the content of its file; options as in :func:`load_single_model`.

    Args:
        file: weights and everything that belongs to them; the weights are copied.
        family: the family, if it is not one of :func:`cytotome.families.family_names`.

    Raises:
        ModelError: if the weights do not fit the network.
    """
    chosen_device = choose_device(device)
    chosen_precision = choose_precision(precision, chosen_device)
    family = family or get_family(file.family)
    with torch.random.fork_rng(
        devices=[]
    ):  # the random weights are overwritten and must not change the caller's random state
        net = family.build(file.config.trained())
    try:
        net.load_state_dict(dict(file.weights))
    except RuntimeError as error:
        fault = " ".join(str(error).split())[:200]
        raise ModelError(f"the weights do not fit the {family.name} network ({fault}); train it again") from None
    return Model(file, Runner.of(family, file.config, net, chosen_device, chosen_precision))


def _rebuilt(file: ModelFile, family: AnyFamily | None, device: str, precision: str) -> Model:
    """Rebuilds a model, for :meth:`Model.__reduce__`."""
    return build_model(file, family=family, device=device, precision=precision)
