"""The core types of the package: Image, Instances, Sample, Dataset, DenseMaps, OutputSpec."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np

from cytotome.arrays import AnyArray as AnyArray
from cytotome.arrays import BoolArray as BoolArray
from cytotome.arrays import FloatArray as FloatArray
from cytotome.arrays import IntArray as IntArray
from cytotome.errors import CytotomeError, DataError, ImageError, one_line
from cytotome.instances import Instances as Instances
from cytotome.soft import SoftMasks as SoftMasks

DenseMaps: TypeAlias = Mapping[str, FloatArray]
"""Named network outputs of one image, each ``(C, H, W)`` float32."""

UNKNOWN = "unknown"
"""Name of an unknown cell type in tables and cards."""

MapKind = Literal["scalar", "vector", "embedding"]
MaskQuality = Literal["full", "approximate", "none"]

IMAGE_DTYPES = (np.uint8, np.uint16, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One image, as read from its file.

    Attributes:
        pixels: ``(H, W)`` or ``(H, W, C)``, uint8, uint16 or float32, with the grey levels of the file.
        microns_per_pixel: pixel size in microns, None if the file does not give it.
        source: path or name, used in messages.
        notes: remarks about the file for the user, one line each.

    Raises:
        ImageError: if the rank or dtype is not supported, the image is empty or ``microns_per_pixel`` is not positive.
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

    def __repr__(self) -> str:
        size = "x".join(map(str, self.pixels.shape))
        scale = "" if self.microns_per_pixel is None else f", {self.microns_per_pixel:g} microns per pixel"
        return f"Image({size} {self.pixels.dtype}{scale}, {self.source!r})"

    def _repr_png_(self) -> bytes | None:
        """The image with stretched contrast, for notebooks; None if it is too large to display."""
        return _shown(self, None)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Describes one dense map and how it behaves under flips, rotations and averaging.

    Attributes:
        name: key of the map in :data:`DenseMaps`.
        channels: number of channels; 2 for ``vector``, in the order y, x.
        kind: ``scalar`` maps move with the image and may be averaged; the components of ``vector`` maps are also
            swapped and negated; ``embedding`` maps move but are never averaged.
        top: maximum value of a map with one channel, for pictures.
    """

    name: str
    channels: int
    kind: MapKind = "scalar"
    top: float = 1.0


@dataclass(frozen=True, slots=True)
class SampleInfo:
    """What is known about a sample before its pixels are read.

    Attributes:
        id: unique within its dataset.
        cell_type: name of the image's cell type, empty if unknown.
        group: images of one group, such as the same well or patient, are never split between training and validation.
        fold: validation fold; -1 for an image that is only used for training, None if the dataset has no folds.
        mask_quality: ``full``, ``approximate`` (used for training, never for evaluation) or ``none`` (unlabelled).
    """

    id: str
    cell_type: str = ""
    group: str = ""
    fold: int | None = None
    mask_quality: MaskQuality = "full"

    @property
    def split_key(self) -> str:
        """Key of what must not be split between training and validation: the group or, without one, the sample."""
        return self.group or self.id

    @property
    def is_labelled(self) -> bool:
        """Whether there are masks to train on, exact or approximate."""
        return self.mask_quality != "none"

    @property
    def is_scored(self) -> bool:
        """Whether the masks are exact, so that predictions can be scored against them."""
        return self.mask_quality == "full"


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image with its instances (None if unlabelled) and its metadata.

    ``ignore`` is ``(H, W)`` bool or None: pixels that are excluded from every loss.
    """

    info: SampleInfo
    image: Image
    instances: Instances | None = None
    ignore: BoolArray | None = field(default=None)

    def __repr__(self) -> str:
        kind = f", {self.info.cell_type}" if self.info.cell_type else ""
        return f"Sample({self.info.id!r}{kind}, {self.image!r}, {self.instances!r})"

    def _repr_png_(self) -> bytes | None:
        """The image with the outlines of the cells, for notebooks; None if it is too large to display."""
        return _shown(self.image, self.instances)


def _shown(image: Image, instances: Instances | None) -> bytes | None:
    from cytotome.ops.pictures import encode_png, fits_notebook, picture_of_image

    return encode_png(*picture_of_image(image.pixels, instances)) if fits_notebook(image.shape) else None


@dataclass(frozen=True, slots=True)
class Note:
    """A remark about a dataset: parts that are not used, or that were modified when they were read.

    Attributes:
        what: what the parts are, and what was done with them.
        names: name of each part.
        remedy: what the user can do about it, empty if nothing is needed.
    """

    what: str
    names: tuple[str, ...]
    remedy: str = ""

    def text(self, most: int | None = 3) -> str:
        """Returns the remark as one line, with the first ``most`` names, or all if None."""
        more = ", ..." if most is not None and len(self.names) > most else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.what} ({len(self.names)}): {', '.join(self.names[:most])}{more}{remedy}"

    __str__ = text


class Dataset(Sequence[Sample]):
    """Samples that are read on demand, one at a time. A subclass sets ``infos`` and defines :meth:`read`.

    Attributes:
        name: name of the dataset; by default, that of the class.
        class_names: names of the classes of the instances.
        infos: metadata of each sample, known without reading pixels.
        licence: licence of the images and masks, empty if unknown.
        notes: parts that are not used, or that were modified when they were read.
    """

    name: str
    class_names: tuple[str, ...] = ("cell",)
    infos: tuple[SampleInfo, ...]
    licence: str = ""
    notes: tuple[Note, ...] = ()

    if not TYPE_CHECKING:

        def __getattr__(self, attribute: str) -> Any:
            """Defaults of the attributes that a subclass does not set."""
            if attribute == "name":
                return type(self).__name__
            if attribute == "infos":
                raise DataError(f"{self.name}: infos is not set; set it to a tuple with one SampleInfo per sample")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")

    def read(self, index: int) -> Sample:
        """Reads one sample from its files. Callers index the dataset instead, so that errors name the sample."""
        raise TypeError(f"{type(self).__name__} must define read(index)")

    def instances(self, index: int) -> Instances | None:
        """Returns the truth of one sample, None if unlabelled; without reading pixels if the dataset can."""
        return self[index].instances

    def digest(self, index: int) -> str:
        """Returns a hash of the content of one sample, image and truth; without decoding if the dataset can."""
        sample = self[index]
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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self)} images, classes {'/'.join(self.class_names)})"

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Subset: ...

    def __getitem__(self, index: int | slice) -> Sample | Subset:
        if isinstance(index, slice):
            return Subset(self, range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._read(index % len(self))

    def __iter__(self) -> Iterator[Sample]:
        return (self._read(index) for index in range(len(self)))

    def _read(self, index: int) -> Sample:
        """Calls :meth:`read`; its errors are raised with the name of the sample."""
        which = f"{self.name}: sample {index} ({self.infos[index].id})"
        try:
            sample = self.read(index)
        except CytotomeError:
            raise
        except Exception as error:
            raise DataError(f"{which} cannot be read ({one_line(error)}); check its read") from error
        if not isinstance(sample, Sample):
            raise DataError(f"{which}: read must return a Sample, got {type(sample).__name__}")
        return sample

    def subset(self, indices: Sequence[int]) -> Subset:
        """Returns the samples at these positions as a dataset, still read on demand."""
        return Subset(self, indices)


class Subset(Dataset):
    """Some samples of another dataset, in a given order."""

    def __init__(self, parent: Dataset, indices: Sequence[int]) -> None:
        self.parent = parent
        self.indices = tuple(indices)
        self.name = parent.name
        self.licence = parent.licence
        self.class_names = parent.class_names
        self.notes = parent.notes
        self.infos = tuple(parent.infos[index] for index in self.indices)

    def read(self, index: int) -> Sample:
        """Reads the sample of the parent."""
        return self.parent[self.indices[index]]

    def instances(self, index: int) -> Instances | None:
        """Returns the instances of the parent."""
        return self.parent.instances(self.indices[index])

    def digest(self, index: int) -> str:
        """Returns the hash of the parent."""
        return self.parent.digest(self.indices[index])
