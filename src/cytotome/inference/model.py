"""The model object that a user holds: images in, instances out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeVar, overload

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from cytotome.contract import DecodeParameters, Outputs
from cytotome.data.normalise import normalise
from cytotome.errors import ConfigError, CytotomeError, ModelError
from cytotome.families import AnyFamily, get_family
from cytotome.inference.device import choose_device, choose_precision
from cytotome.inference.fusion import can_fuse_activations, optimise
from cytotome.inference.inputs import ImageLike, is_one, several, to_image
from cytotome.inference.instance_tiles import segment_in_tiles
from cytotome.inference.lanes import process_in_lanes
from cytotome.inference.passes import Pass, Seen, Shown, geometry
from cytotome.inference.scale import CellScale, at_known_size, resized_image, resized_instances
from cytotome.inference.teller import Teller
from cytotome.models.card import Card
from cytotome.models.cell_size import CellSizes
from cytotome.models.file import ModelFile, read_model
from cytotome.models.look import Look
from cytotome.models.registry import find_model
from cytotome.ops.runs import empty_instances
from cytotome.outputs.canvas import to_canvas
from cytotome.outputs.tiling import TILE, TileWatch
from cytotome.outputs.tta import Tta, tta_settings
from cytotome.types import DenseMaps, FloatArray, Image, Instances, OutputSpec

Result = TypeVar("Result")


class Model:
    """A network with all that makes instances of its outputs. Its methods may be called from several threads.

    Attributes:
        file: the model as it was read: family, config, parameters, normalisation, card.
        family: the method.
        device, precision: where and in which type the network computes.
        kind: of what the network predicts.
    """

    def __init__(
        self, file: ModelFile, family: AnyFamily, net: nn.Module, device: torch.device, precision: torch.dtype
    ):
        """Takes built parts; :func:`load_model` and :func:`build_model` build them."""
        self.file = file
        self.family = family
        self.device = device
        self.precision = precision
        self._stride = family.stride(net)
        self._largest_tile = family.tile(net) if family.tile else None
        fuse = can_fuse_activations(device)
        net = optimise(net.eval().requires_grad_(False), fuse_activations=fuse)
        self._net = net.to(device, precision).to(memory_format=torch.channels_last)
        self.kind: Outputs[Any, Any] = family.outputs(file.config)
        self._tell = Teller(file.card.look)
        self._watch: TileWatch | None = None
        # One batch at a time on an accelerator, so that its memory is bounded; threads of a CPU go side by side.
        self._turn = nullcontext() if device.type == "cpu" else threading.Lock()

    @property
    def hash(self) -> str:
        """SHA-256 of the model's content, empty for one that was never saved."""
        return self.file.digest

    @property
    def method(self) -> str:
        """Name of the family."""
        return self.family.name

    @property
    def card(self) -> Card:
        """Origin and merits."""
        return self.file.card

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of its instances."""
        return self.file.config.class_names

    @property
    def maps(self) -> tuple[OutputSpec, ...]:
        """The dense maps that it predicts, none where it predicts instances."""
        return self.kind.specs

    def watch_tiles(self, watch: TileWatch | None) -> None:
        """Has ``watch`` called after each tile of images that are predicted in tiles; what it raises ends the image."""
        self._watch = watch

    @property
    def cell_sizes(self) -> CellSizes | None:
        """The cells that it was trained on, None where its card does not say."""
        return self.card.cell_sizes

    @property
    def look(self) -> Look | None:
        """The kind of images that it was trained on, None where its card does not say."""
        return self.card.look

    @property
    def parameters(self) -> DecodeParameters:
        """The calibrated parameters of the decoder."""
        return self.file.parameters

    def without_offset(self) -> Model:
        """The same model, sharing its network, that gives cells where they are seen, without the config's offset."""
        model = copy(self)
        model.file = replace(self.file, config=self.file.config.model_copy(update={"offset": (0.0, 0.0)}))
        return model

    @overload
    def segment(self, images: ImageLike, **options: Any) -> Instances: ...
    @overload
    def segment(self, images: Iterable[ImageLike], **options: Any) -> list[Instances]: ...
    def segment(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        tta: bool | Tta = False,
        tile: int = TILE,
        scale: float | None = None,
        diameter: float | None = None,
        **parameters: Any,
    ) -> Instances | list[Instances]:
        """The cells of an image, or of each of several.

        Args:
            images: an :class:`Image` or :class:`Sample`, a ``(H, W)`` or ``(H, W, C)`` array or the path of a file; or
                a list, an iterator or a :class:`Dataset` of such.
            tta: average over the eight symmetries of the square, eight times as slow; or the views to average over.
            tile: images with a longer side, in pixels of the network's input, are predicted in tiles.
            scale: resize images by this factor before the model sees them; cells are given in the image's own pixels,
                while the decoder's parameters count those of the resized image. 1 takes images as they are. By default
                the factor follows from the image's pixel size where both it and the card's ``cell_sizes`` state one,
                and else from a first pass, see :mod:`cytotome.inference.scale`.
            diameter: typical diameter of the cells in pixels, instead of ``scale``.
            **parameters: override the calibrated parameters of the decoder.

        Raises:
            ImageError: where an image cannot be used.
            ConfigError: where a parameter is unknown or out of range; all faults are named.
        """
        if not is_one(images):
            options = {"tta": tta, "tile": tile, "scale": scale, "diameter": diameter, **parameters}
            return list(self.segment_many(images, **options))  # type: ignore[arg-type]
        how = Pass(self.override(**parameters), tta, tile, CellScale(scale, diameter))
        return _raised(self._process_batch([images], self._tell, how)[0])  # type: ignore[list-item]

    def segment_many(self, images: Iterable[ImageLike], **options: Any) -> Iterator[Instances]:
        """The cells of each image of a stream, in order; options as in :meth:`segment`.

        Images are taken a few ahead, so memory does not grow with their number.

        Raises:
            CytotomeError: at the turn of an image that cannot be used; the stream ends there.
        """
        return map(_raised, self.process_many(images, self._tell, **options))

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
        """``then(image, cells)`` of each image of a stream, in order; an image's error stands in its place.

        Reading, network, decoding and ``then`` of an image run in one of several threads, so that they overlap with
        those of other images. On a CPU each thread has its share of the processors: whole images side by side leave
        none of them waiting, as two threads on one convolution do beside a decoder.

        Args:
            images: paths are read in the threads.
            then: for instance writes files; called from several threads.
            tta, tile, scale, diameter, **parameters: as in :meth:`segment`.
            workers: number of threads.

        Raises:
            ConfigError: at once, where a parameter is unknown or out of range.
        """
        how = Pass(self.override(**parameters), tta, tile, CellScale(scale, diameter))

        def process(batch: Sequence[ImageLike]) -> list[Result | CytotomeError]:
            return self._process_batch(batch, then, how)

        return process_in_lanes(process, several(images), self.device, workers=workers)

    def predict_maps(
        self,
        image: ImageLike,
        *,
        tta: bool | Tta = False,
        tile: int = TILE,
        scale: float | None = None,
        diameter: float | None = None,
    ) -> DenseMaps:
        """The network's maps ``(C, H, W)`` float32 of the image's own size, to be decoded by :meth:`decode`.

        Options are those of :meth:`segment`; no first pass estimates the size of the cells.

        Raises:
            ConfigError: where the family predicts instances without maps.
        """
        if not self.maps:
            raise ConfigError(f"the family {self.family.name} predicts instances without maps; use segment")
        picture = to_image(image)
        factor = CellScale(scale, diameter).known(picture, self.cell_sizes) or 1.0
        seen = replace(self._seen(resized_image(picture, factor), tile), size=picture.shape)
        maps: DenseMaps = self._outputs([seen], tta, tile)[0]
        return maps

    def outputs(self, image: ImageLike, *, tta: bool | Tta = False, tile: int = TILE) -> Any:
        """What the family's decoder takes of an image: dense maps, or the instances that it predicts, none dropped."""
        return self._outputs([self._seen(to_image(image), tile)], tta, tile)[0]

    def decode(self, maps: Any, **parameters: Any) -> Instances:
        """Instances of :meth:`outputs`, without the network; ``parameters`` override the calibrated ones."""
        return self._decode(maps, self.override(**parameters))

    def _decode(self, outputs: Any, parameters: DecodeParameters) -> Instances:
        found: Instances = self.family.decode(outputs, parameters, self.class_names)
        return found

    def override(self, **parameters: Any) -> DecodeParameters:
        """The calibrated parameters with some replaced; these also come before overrides by cell type.

        Raises:
            ConfigError: where one is unknown or out of range; all faults are named.
        """
        if not parameters:
            return self.parameters
        try:
            return self.parameters.changed(**parameters)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            names = ", ".join(type(self.parameters).model_fields)
            raise ConfigError(f"decode parameters: {faults}; there are {names}") from None

    def _process_batch(
        self, sources: Sequence[ImageLike], then: Callable[[Image, Instances], Result], how: Pass
    ) -> list[Result | CytotomeError]:
        """Results in the order of the sources; neighbours of one size share a batch of the network."""
        results: list[Result | CytotomeError] = []
        prepared = (self._prepare(source, how) for source in sources)
        for _, group in groupby(prepared, key=geometry):
            shown = []
            for item in group:
                if isinstance(item, CytotomeError):
                    results.append(item)
                else:
                    shown.append(item)
            if shown:
                found = self._segment([one.seen for one in shown], how)
                results += [self._finished(one, cells, how, then) for one, cells in zip(shown, found, strict=True)]
        return results

    def _prepare(self, source: ImageLike, how: Pass) -> Shown | CytotomeError:
        try:
            image = to_image(source)
            scale = how.size.known(image, self.cell_sizes)
            return Shown(image, scale, self._seen(resized_image(image, scale or 1.0), how.tile))
        except CytotomeError as error:
            return error

    def _finished(
        self, shown: Shown, cells: Instances, how: Pass, then: Callable[[Image, Instances], Result]
    ) -> Result | CytotomeError:
        """``then`` of the cells in the image's own pixels, found once more at a better size where they need it."""

        def again(image: Image) -> Instances:
            return self._segment([self._seen(image, how.tile)], how)[0]

        image, sizes = shown.image, self.cell_sizes
        try:
            if shown.scale is None and sizes is not None:
                cells = at_known_size(cells, image, sizes, again)
            if self.card.cell_types is not None:
                cells = self.card.cell_types.checked(cells)
            return then(image, resized_instances(cells, image.shape))
        except CytotomeError as error:
            return error

    def _segment(self, seen: Sequence[Seen], how: Pass) -> list[Instances]:
        """Instances of images of one geometry."""
        if not self.kind.joins_tiles and max(seen[0].canvas.pixels.shape[1:]) > how.tile:
            return [self._segment_in_tiles(one, how) for one in seen]
        outputs = self._outputs(seen, how.tta, how.tile)
        return [
            self._decode(found, how.parameters)
            if one.canvas.pixels.any()
            else empty_instances(one.size, self.class_names)
            for one, found in zip(seen, outputs, strict=True)
        ]

    def _segment_in_tiles(self, seen: Seen, how: Pass) -> Instances:
        """Tiles of the image are decoded one by one: embeddings of one are not those of another."""
        scale = max(content / side for content, side in zip(seen.canvas.content, seen.size, strict=True))
        tile = -(-how.tile // self._stride) * self._stride

        def segment(planes: FloatArray) -> Instances:
            return self._segment([self._placed(planes, scale)], replace(how, tile=tile))[0]

        return segment_in_tiles(seen.planes, segment, int(tile / scale), self._watch)

    def _seen(self, image: Image, tile: int) -> Seen:
        """What the network sees of an image; where the config names a ``cell_size``, after a first pass."""
        config = self.file.config
        planes = normalise(image, self.file.normalisation, config.channels)
        seen = self._placed(planes, config.input_scale)
        if config.cell_size is None:
            return seen
        cells = self._segment([seen], Pass(self.parameters, tta=False, tile=tile))[0]
        factor = round(config.size_factor(cells.areas, config.input_scale), 1)  # images of like cells share batches
        return seen if factor == 1 else self._placed(planes, config.input_scale * factor)

    def _placed(self, planes: FloatArray, scale: float) -> Seen:
        canvas = to_canvas(planes, scale, self._stride, self.file.config.offset)
        return Seen(planes, canvas, (planes.shape[1], planes.shape[2]))

    def _outputs(self, seen: Sequence[Seen], tta: bool | Tta, tile: int) -> list[Any]:
        """What the decoder takes of each of some images of one geometry."""
        predict: Callable[[Tensor], Any] = self._run
        if views := tta_settings(tta):
            predict = self.kind.augmented(predict, views, stride=self._stride)
        tile = min(tile, self._largest_tile or tile)
        predict = self.kind.tiled(predict, tile=tile, stride=self._stride, watch=self._watch)
        canvases = [one.canvas.pixels for one in seen]
        stacked = canvases[0][None] if len(seen) == 1 else np.stack(canvases)
        with self._turn, torch.inference_mode():
            found = predict(torch.from_numpy(stacked).to(self.device, self.precision))
            return self.kind.at_size(found, seen[0].canvas, seen[0].size)

    def _run(self, images: Tensor) -> Any:
        return self.family.predict(self._net, images.contiguous(memory_format=torch.channels_last))


def load_model(name_or_path: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto") -> Model:
    """A model by the name of a bundled one (``"neurons"``) or by the path of its file.

    Args:
        name_or_path: name or path.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto`` (bfloat16 where the device computes in it), ``float32`` or ``bfloat16``.

    Raises:
        ModelError: where there is no such model, or its file is damaged, foreign or of a newer format.
        ConfigError: where the device or precision is not there.
    """
    return build_model(read_model(find_model(name_or_path)), device=device, precision=precision)


def build_model(
    file: ModelFile, *, family: AnyFamily | None = None, device: str = "auto", precision: str = "auto"
) -> Model:
    """A model from the content of its file; options as in :func:`load_model`.

    Args:
        file: weights and all that belongs to them; they are copied.
        family: the method, where it is not one of :func:`cytotome.families.family_names`.

    Raises:
        ModelError: where the weights do not fit the network.
    """
    chosen_device = choose_device(device)
    chosen_precision = choose_precision(precision, chosen_device)
    family = family or get_family(file.family)
    with torch.random.fork_rng(devices=[]):  # random weights that are overwritten cost the caller no seed
        net = family.build(file.config.trained())
    try:
        net.load_state_dict(dict(file.weights))
    except RuntimeError as error:
        fault = " ".join(str(error).split())[:200]
        raise ModelError(f"the weights do not fit the {family.name} network ({fault}); train it again") from None
    return Model(file, family, net, chosen_device, chosen_precision)


def _raised(outcome: Result | CytotomeError) -> Result:
    if isinstance(outcome, CytotomeError):
        raise outcome
    return outcome
