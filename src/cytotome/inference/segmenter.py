"""What a model and an ensemble are to whoever holds them: images in, instances out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar, overload

import torch
from pydantic import BaseModel

from cytotome.errors import CytotomeError
from cytotome.inference.inputs import ImageLike, is_one, several, to_image
from cytotome.inference.passes import Finder, Pass, Prediction
from cytotome.inference.scale import CellScale, estimate_scale, resized_image, resized_instances
from cytotome.inference.stream import JobKind, Outcome, stream_jobs
from cytotome.inference.teller import Teller
from cytotome.models.card import Card
from cytotome.models.cell_size import CellSizes
from cytotome.models.look import Look
from cytotome.outputs.tiling import TILE, TileWatch
from cytotome.outputs.tta import Tta
from cytotome.types import Image, Instances, OutputSpec

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class ImageJob:
    """An image of a stream, as the user gave it."""

    source: ImageLike

    def read(self) -> Image:
        """The image; files are read here."""
        return to_image(self.source)


class Segmenter(Protocol):
    """A model or an ensemble. Its methods may be called from several threads."""

    @property
    def digest(self) -> str:
        """SHA-256 of its content, empty for what was never saved."""
        ...

    @property
    def method(self) -> str:
        """Names of its families."""
        ...

    @property
    def card(self) -> Card:
        """Origin and merits."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of its instances."""
        ...

    @property
    def maps(self) -> tuple[OutputSpec, ...]:
        """The dense maps among the outputs of its predictions; none for detections and for ensembles."""
        ...

    @property
    def cell_sizes(self) -> CellSizes | None:
        """The cells that it was trained on, None if no card says."""
        ...

    @property
    def look(self) -> Look | None:
        """The kind of images that it was trained on, None if no card says."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        ...

    @property
    def precision(self) -> torch.dtype:
        """In which type the networks compute."""
        ...

    @property
    def parameters(self) -> BaseModel:
        """The parameters that ``override`` replaces."""
        ...

    def override(self, **parameters: Any) -> BaseModel:
        """The parameters with some replaced; these also come before overrides by cell type.

        Raises:
            ConfigError: if one is unknown or out of range; all faults are named.
        """
        ...

    def finder(self, how: Pass, **parameters: Any) -> Finder:
        """What finds instances in images, at the size that these are given in; of unknown type where unlike any known.

        Raises:
            ConfigError: if a parameter is unknown or out of range.
        """
        ...

    def uncalibrated(self, image: Image, cells: Instances) -> Instances:
        """What was found in an image, with the scores that :attr:`look` was measured with."""
        ...

    def note(self, image: Image, cells: Instances) -> str:
        """One line for the user where an image is of another kind than those trained on; else empty.

        Args:
            image: as it was read.
            cells: what was found in it.
        """
        look = self.look
        return "" if look is None else look.note(image, lambda: self.uncalibrated(image, cells))

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
        watch: TileWatch | None = None,
        **parameters: Any,
    ) -> Instances | list[Instances]:
        """The cells of an image, or of each of several.

        Args:
            images: an :class:`Image` or :class:`Sample`, a ``(H, W)`` or ``(H, W, C)`` array or the path of a file; or
                a list, an iterator or a :class:`Dataset` of such.
            tta: average over the eight symmetries of the square, eight times as slow; or the views to average over.
                Members of an ensemble that name views themselves keep these.
            tile: images with a longer side, in pixels of the network's input, are predicted in tiles.
            scale: resize images by this factor before the model sees them; cells are given in the image's own pixels,
                while the decoder's parameters count those of the resized image. 1 takes images as they are. By default
                the factor follows from the image's pixel size where both it and the card's ``cell_sizes`` state one,
                and else from a first pass, see :mod:`cytotome.inference.scale`.
            diameter: typical diameter of the cells in pixels, instead of ``scale``.
            watch: called with the number of tiles that are done, and of all, after each tile; what it raises ends the
                image.
            **parameters: override the calibrated parameters of the decoder, or those of an ensemble's fusion.

        Raises:
            ImageError: if an image cannot be used.
            ConfigError: if a parameter is unknown or out of range; all faults are named.
        """
        options = {"tta": tta, "tile": tile, "scale": scale, "diameter": diameter, "watch": watch, **parameters}
        if not is_one(images):
            return list(self.segment_many(images, **options))  # type: ignore[arg-type]
        found = self.predict(images, **options)  # type: ignore[arg-type]
        return self._tell(found.image, found.instances)

    def segment_many(self, images: Iterable[ImageLike], **options: Any) -> Iterator[Instances]:
        """The cells of each image of a stream, in order; options as in :meth:`segment`.

        Images are taken a few ahead, so memory does not grow with their number.

        Raises:
            CytotomeError: at the turn of an image that cannot be used; the stream ends there.
        """
        outcomes = self._stream_images(images, self._tell, options)
        return (outcome.result() for outcome in outcomes)

    def process_many(
        self, images: Iterable[ImageLike], then: Callable[[Image, Instances], Result], **options: Any
    ) -> Iterator[Result | CytotomeError]:
        """``then(image, cells)`` of each image of a stream, in order; an image's error stands in its place.

        Args:
            images: paths are read in the threads.
            then: for instance writes files; called from several threads.
            **options: those of :meth:`segment`, and ``workers``, the number of threads.

        Raises:
            ConfigError: at once, where a parameter is unknown or out of range.
        """
        outcomes = self._stream_images(images, then, options)
        return (one.value if isinstance(one.value, CytotomeError) else one.result() for one in outcomes)

    def predict(
        self,
        image: ImageLike,
        *,
        tta: bool | Tta = False,
        tile: int = TILE,
        scale: float | None = None,
        diameter: float | None = None,
        keep_outputs: bool = False,
        watch: TileWatch | None = None,
        **parameters: Any,
    ) -> Prediction:
        """The cells of one image and, where ``keep_outputs`` says so, the network's outputs that they were made of.

        Other options and errors as in :meth:`segment`.
        """
        how = Pass(tta, tile, CellScale(scale, diameter), keep_outputs, watch)
        return self._predictions([to_image(image)], self.finder(how, **parameters), how.size)[0]

    def segment_stream(
        self,
        jobs: Iterable[JobKind],
        then: Callable[[JobKind, Prediction], Result],
        *,
        tta: bool | Tta = False,
        tile: int = TILE,
        scale: float | None = None,
        diameter: float | None = None,
        keep_outputs: bool = False,
        watch: TileWatch | None = None,
        workers: int | None = None,
        **parameters: Any,
    ) -> Iterator[Outcome[JobKind, Result]]:
        """What comes of a stream of jobs, in order: of each the result of ``then(job, prediction)``, or its error.

        Each job is read, predicted, decoded and given to ``then`` in one of several threads, side by side with others;
        an error of any kind costs its own image only. Memory does not grow with the number of jobs.

        Args:
            jobs: objects with a method ``read()`` that gives an :class:`Image`; taken a few ahead.
            then: for instance writes files; called from several threads.
            tta: as in :meth:`segment`, like all that is not named here.
            keep_outputs: whether predictions hold the network's outputs too.
            workers: number of threads.

        Raises:
            ConfigError: at once, where a parameter is unknown or out of range.
        """
        how = Pass(tta, tile, CellScale(scale, diameter), keep_outputs, watch)
        find = self.finder(how, **parameters)

        def predict(images: Sequence[Image]) -> list[Prediction]:
            return self._predictions(images, find, how.size)

        return stream_jobs(jobs, predict, then, self.device, workers=workers)

    def _stream_images(
        self, images: Iterable[ImageLike], then: Callable[[Image, Instances], Result], options: dict[str, Any]
    ) -> Iterator[Outcome[ImageJob, Result]]:
        jobs = map(ImageJob, several(images))
        return self.segment_stream(jobs, lambda job, found: then(found.image, found.instances), **options)

    def _predictions(self, images: Sequence[Image], find: Finder, size: CellScale) -> list[Prediction]:
        """One prediction per image, after two passes where the first says that the cells are of another size."""
        scales = [size.known(image, self.cell_sizes) for image in images]
        views = [resized_image(image, scale or 1.0) for image, scale in zip(images, scales, strict=True)]
        first = find(views, [image.shape for image in images])
        return [
            self._in_pixels_of(image, found if scale is not None else self._second_pass(image, found, find))
            for image, scale, found in zip(images, scales, first, strict=True)
        ]

    def _second_pass(self, image: Image, first: Prediction, find: Finder) -> Prediction:
        """The first pass's prediction, or one of the image resized to the size of cells that this pass estimates."""
        if self.cell_sizes is None:
            return first

        def again(view: Image) -> Prediction:
            return find([view], [image.shape])[0]

        factor = estimate_scale(first.instances, image, self.cell_sizes, lambda view: again(view).instances)
        return first if factor == 1 else again(resized_image(image, factor))

    def _in_pixels_of(self, image: Image, found: Prediction) -> Prediction:
        return Prediction(image, resized_instances(found.instances, image.shape), found.outputs)

    @cached_property
    def _tell(self) -> Teller:
        return Teller(self.note)
