"""The values that travel through the package: Image, Instances, Sample, DenseMaps, OutputSpec.

They hold data and check it; what is computed from them lives in :mod:`cytotome.ops`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cytotome.errors import CytotomeError, DataError, ImageError
from cytotome.soft import SoftMasks as SoftMasks

BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.int32]
AnyArray: TypeAlias = npt.NDArray[Any]

DenseMaps: TypeAlias = Mapping[str, FloatArray]
"""Named network outputs of one image, each ``(C, H, W)`` float32."""

UNKNOWN = "unknown"
"""Stands in tables and cards for cells of no known type."""

MapKind = Literal["scalar", "vector", "embedding"]
MaskQuality = Literal["full", "approximate", "none"]

IMAGE_DTYPES = (np.uint8, np.uint16, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One image as it was read.

    Attributes:
        pixels: ``(H, W)`` or ``(H, W, C)``, uint8, uint16 or float32, grey levels as in the file.
        microns_per_pixel: edge of a pixel in microns, None where the file does not say.
        source: path or name, used in messages.
        notes: what a user should know of the file though it can be read, each one line.

    Raises:
        ImageError: for another rank or type, an empty image or a resolution that is not positive.
    """

    pixels: AnyArray
    microns_per_pixel: float | None = None
    source: str = "image"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim not in (2, 3) or pixels.dtype not in IMAGE_DTYPES:
            raise ImageError(
                f"{self.source}: expected (H, W) or (H, W, C) of uint8, uint16 or float32, "
                f"got {pixels.shape} of {pixels.dtype}; convert it first"
            )
        if pixels.size == 0:
            raise ImageError(f"{self.source}: the image is empty, shape {pixels.shape}; remove it or export it again")
        if self.microns_per_pixel is not None and not self.microns_per_pixel > 0:
            raise ImageError(f"{self.source}: microns_per_pixel must be positive, got {self.microns_per_pixel}")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """N objects of one image, which may overlap, as runs of pixels.

    A run ``[row, start, stop)`` is a horizontal piece of one mask. The runs of instance ``i`` are
    ``runs[offsets[i]:offsets[i + 1]]``, ordered by row, then start; they neither touch nor overlap each other.
    Build one with :func:`cytotome.ops.labels.from_label_map`, :func:`cytotome.ops.runs.from_masks` or
    :func:`cytotome.ops.runs.make_instances`.

    Attributes:
        shape: ``(H, W)`` of the image.
        runs: ``(R, 3)`` int32, columns row, start, stop; 0 <= start < stop <= W.
        offsets: ``(N + 1,)`` int64.
        scores: ``(N,)`` float32 in [0, 1]; 1 for truth.
        classes: ``(N,)`` int32, index into ``class_names``, -1 where unknown.
        ids: ``(N,)`` int32, positive and unique.
        class_names: names of the classes (cell types).
        soft: the probabilities that the masks are made of, where the method gives them and nothing has changed the
            masks since.
    """

    shape: tuple[int, int]
    runs: IntArray
    offsets: npt.NDArray[np.int64]
    scores: FloatArray
    classes: IntArray
    ids: IntArray
    class_names: tuple[str, ...] = ()
    soft: SoftMasks | None = None

    def __post_init__(self) -> None:
        count = len(self.offsets) - 1
        if count < 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.runs):
            raise DataError(f"instances: offsets must run from 0 to the number of runs ({len(self.runs)})")
        if self.runs.ndim != 2 or self.runs.shape[1] != 3:
            raise DataError(f"instances: runs must be (R, 3) of row, start, stop, got {self.runs.shape}")
        for name in ("scores", "classes", "ids"):
            if getattr(self, name).shape != (count,):
                raise DataError(f"instances: {name} must be ({count},), got {getattr(self, name).shape}")
        if self.soft is not None and len(self.soft) != count:
            raise DataError(f"instances: soft must hold {count} masks, one each, got {len(self.soft)}")
        if len(self.runs):
            rows, starts, stops = self.runs.T
            height, width = self.shape
            if rows.min() < 0 or rows.max() >= height or starts.min() < 0 or stops.max() > width:
                raise DataError(f"instances: a run leaves the image of {height}x{width}")
            if (starts >= stops).any():
                raise DataError("instances: a run must have start < stop")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """``(N,)`` int64, pixels of each mask."""
        total = np.zeros(len(self.runs) + 1, np.int64)
        np.cumsum(self.runs[:, 2] - self.runs[:, 1], out=total[1:])
        return total[self.offsets[1:]] - total[self.offsets[:-1]]

    @property
    def boxes(self) -> IntArray:
        """``(N, 4)`` int32 of ``y0, x0, y1, x1``, half open; zeros for an empty mask."""
        boxes = np.zeros((len(self), 4), np.int32)
        filled = self.offsets[1:] > self.offsets[:-1]
        if filled.any():
            first = self.offsets[:-1][filled]
            last = self.offsets[1:][filled] - 1
            boxes[filled, 0] = self.runs[first, 0]
            boxes[filled, 2] = self.runs[last, 0] + 1
            boxes[filled, 1] = np.minimum.reduceat(self.runs[:, 1], first)
            boxes[filled, 3] = np.maximum.reduceat(self.runs[:, 2], first)
        return boxes

    def __iter__(self) -> Iterator[Instances]:
        """Each instance by itself, as :class:`Instances` of length 1."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | slice | BoolArray | npt.NDArray[np.int64] | Sequence[int]) -> Instances:
        """The chosen instances: a position (an :class:`Instances` of length 1), a slice, a bool mask or positions.

        Raises:
            IndexError: for a position that there is not, or a mask of another length.
        """
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        return self.select(np.atleast_1d(np.arange(len(self))[index]))

    def __repr__(self) -> str:
        height, width = self.shape
        classes = f", classes {'/'.join(self.class_names)}" if self.class_names else ""
        return f"Instances({len(self)} cells, {height}x{width}{classes})"

    def masks(self) -> BoolArray:
        """``(N, H, W)`` bool, the mask of each instance in the whole image; overlaps are kept.

        Takes N times the memory of the image; :func:`cytotome.ops.runs.mask_crop` gives one mask inside its box.
        """
        height, width = self.shape
        change = np.zeros((len(self), height, width + 1), np.int8)
        owners = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        change[owners, self.runs[:, 0], self.runs[:, 1]] += 1
        change[owners, self.runs[:, 0], self.runs[:, 2]] -= 1
        return np.cumsum(change, axis=2, dtype=np.int8)[:, :, :-1].astype(bool)

    def renumbered(self) -> Instances:
        """The same instances with ids 1 to N in their order."""
        return replace(self, ids=np.arange(1, len(self) + 1, dtype=np.int32))

    def select(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | Sequence[int]) -> Instances:
        """The chosen instances, in the order given; ``index`` is a boolean mask or positions."""
        chosen = np.asarray(index)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64, copy=False)
        counts = (self.offsets[1:] - self.offsets[:-1])[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.repeat(self.offsets[:-1][chosen] - offsets[:-1], counts) + np.arange(offsets[-1])
        return replace(
            self,
            runs=self.runs[rows],
            offsets=offsets,
            scores=self.scores[chosen],
            classes=self.classes[chosen],
            ids=self.ids[chosen],
            soft=None if self.soft is None else self.soft.select(chosen),
        )


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Says what one dense map is and how it behaves under flips, rotations and averaging.

    Attributes:
        name: key of the map in :data:`DenseMaps`.
        channels: its number of channels; for ``vector`` 2, in the order y, x.
        kind: ``scalar`` maps move with the image and may be averaged; ``vector`` components are swapped and negated
            too; ``embedding`` maps move but are never averaged.
        top: greatest value that a map of one channel can have, for pictures.
    """

    name: str
    channels: int
    kind: MapKind = "scalar"
    top: float = 1.0


@dataclass(frozen=True, slots=True)
class SampleInfo:
    """What is known of a sample before its pixels are read.

    Attributes:
        id: unique within its dataset.
        cell_type: name of the cell type of the image, empty where unknown.
        group: images of one group are never split between training and validation (same well, same patient).
        fold: validation fold, -1 for an image that is only trained on, None where the dataset has no folds.
        mask_quality: ``full``, ``approximate`` (train on it, never evaluate on it) or ``none`` (unlabelled).
    """

    id: str
    cell_type: str = ""
    group: str = ""
    fold: int | None = None
    mask_quality: MaskQuality = "full"


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image with its instances (None where unlabelled) and what is known of it.

    ``ignore`` is ``(H, W)`` bool or None: pixels that add nothing to any loss.
    """

    info: SampleInfo
    image: Image
    instances: Instances | None = None
    ignore: BoolArray | None = field(default=None)


@dataclass(frozen=True, slots=True)
class Note:
    """What a user should know of a dataset: parts that no sample is made of, or that were not taken as they stand.

    Attributes:
        what: what they are, and what was made of them.
        names: of each of them.
        remedy: what can be done about it, empty where nothing has to be.
    """

    what: str
    names: tuple[str, ...]
    remedy: str = ""

    def text(self, most: int | None = 3) -> str:
        """One line, with the first ``most`` names; all of them where None."""
        more = ", ..." if most is not None and len(self.names) > most else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.what} ({len(self.names)}): {', '.join(self.names[:most])}{more}{remedy}"

    __str__ = text


class Dataset(Sequence[Sample]):
    """Samples read one at a time, on demand: a subclass sets ``infos`` and defines :meth:`read`.

    Attributes:
        name: that of the class where a subclass sets none.
        class_names: of the instances.
        infos: what is known of each sample; costs no pixel.
        licence: of the images and masks, empty where it is not known.
        notes: what was not used, and what was taken otherwise than it stands in the files.
    """

    name: str
    class_names: tuple[str, ...] = ("cell",)
    infos: tuple[SampleInfo, ...]
    licence: str = ""
    notes: tuple[Note, ...] = ()

    if not TYPE_CHECKING:

        def __getattr__(self, attribute: str) -> Any:
            """What a subclass has not set."""
            if attribute == "name":
                return type(self).__name__
            if attribute == "infos":
                raise DataError(f"{self.name}: infos is not set; set it to a tuple of a SampleInfo for each sample")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")

    def read(self, index: int) -> Sample:
        """Reads one sample from its files; engines index the dataset instead, so that faults are named."""
        raise TypeError(f"{type(self).__name__} must define read(index)")

    def instances(self, index: int) -> Instances | None:
        """The truth of one sample, None where unlabelled; a dataset that can reads no pixel for it."""
        sample: Sample = self[index]
        return sample.instances

    def digest(self, index: int) -> str:
        """A hash of the content of one sample, image and truth; a dataset that can decodes nothing for it."""
        sample: Sample = self[index]
        arrays: list[AnyArray] = [sample.image.pixels]
        if sample.instances is not None:
            arrays += [sample.instances.runs, sample.instances.offsets, sample.instances.classes]
        if sample.ignore is not None:
            arrays.append(sample.ignore)
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.infos)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Subset(self, range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._read(index % len(self))

    def __iter__(self) -> Iterator[Sample]:
        return (self._read(index) for index in range(len(self)))

    def _read(self, index: int) -> Sample:
        """:meth:`read`, whose own faults are told with the sample that they are of."""
        which = f"{self.name}: sample {index} ({self.infos[index].id})"
        try:
            sample = self.read(index)
        except CytotomeError:
            raise
        except Exception as error:
            raise DataError(f"{which} cannot be read ({type(error).__name__}: {error}); check its read") from error
        if not isinstance(sample, Sample):
            raise DataError(f"{which}: read must give a Sample, got {type(sample).__name__}")
        return sample

    def subset(self, indices: Sequence[int]) -> Subset:
        """The samples at these positions, read as lazily as before."""
        return Subset(self, indices)


class Subset(Dataset):
    """Some samples of a dataset, in a given order."""

    def __init__(self, parent: Dataset, indices: Sequence[int]) -> None:
        self.parent = parent
        self.indices = tuple(indices)
        self.name = parent.name
        self.licence = parent.licence
        self.class_names = parent.class_names
        self.notes = parent.notes
        self.infos = tuple(parent.infos[index] for index in self.indices)

    def read(self, index: int) -> Sample:
        """The parent's sample."""
        sample: Sample = self.parent[self.indices[index]]
        return sample

    def instances(self, index: int) -> Instances | None:
        """The parent's instances."""
        return self.parent.instances(self.indices[index])

    def digest(self, index: int) -> str:
        """The parent's hash."""
        return self.parent.digest(self.indices[index])
