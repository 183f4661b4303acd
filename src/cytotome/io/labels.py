"""Label map files: TIFF that ImageJ can open, PNG and NPY."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from cytotome.errors import DataError, ImageError
from cytotome.io.decode import read_raster
from cytotome.io.files import atomic_path
from cytotome.io.raster import Raster, check_size, to_native
from cytotome.ops.label_check import label_fault
from cytotome.types import AnyArray, Instances, IntArray

LABEL_SUFFIXES = (".tif", ".tiff", ".png", ".npy")


def write_label_map(
    path: str | os.PathLike[str], labels: Instances | AnyArray, microns_per_pixel: float | None = None
) -> None:
    """Writes a label map atomically, as uint16 if the labels fit and otherwise as int32.

    Args:
        path: ``.tif``/``.tiff`` (deflate-compressed strips, as ImageJ cannot open tiles), ``.png`` (up to 65535 labels)
            or ``.npy``.
        labels: instances, of which the smaller ones get shared pixels, or ``(H, W)`` integers, 0 is background.
        microns_per_pixel: stored in TIFF as the resolution.

    Raises:
        DataError: if the rank, dtype or suffix is not supported, or the format cannot store the labels.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in LABEL_SUFFIXES:
        raise DataError(f"{path}: label maps are written as {', '.join(LABEL_SUFFIXES)}, not {suffix or 'no suffix'}")
    labels = labels.to_label_map() if isinstance(labels, Instances) else _checked(path, np.asarray(labels))
    small = labels.astype(np.uint16) if labels.max(initial=0) <= np.iinfo(np.uint16).max else labels
    if suffix == ".png" and small.dtype != np.uint16:
        raise DataError(f"{path}: PNG stores labels up to 65535, the highest is {labels.max()}; write .tif")
    with atomic_path(path) as temporary:
        if suffix == ".png":
            temporary.write_bytes(imagecodecs.png_encode(small))
        elif suffix == ".npy":
            np.save(temporary, small, allow_pickle=False)
        else:
            _write_tiff(temporary, small, microns_per_pixel)


def _write_tiff(path: Path, labels: AnyArray, microns_per_pixel: float | None) -> None:
    scale: dict[str, Any] = {}
    if microns_per_pixel is not None:
        per_centimetre = 1e4 / microns_per_pixel
        scale = {"resolution": (per_centimetre, per_centimetre), "resolutionunit": tifffile.RESUNIT.CENTIMETER}
    tifffile.imwrite(path, labels, compression="zlib", photometric="minisblack", metadata=None, **scale)


def read_label_map(path: str | os.PathLike[str], *, page: int = 0, check: bool = True) -> IntArray:
    """Reads a ``(H, W)`` int32 label map from a TIFF, PNG or NPY file; it may be empty.

    Integers stored as float, grey stored as RGB and palette PNGs (their indices) are accepted. Labels are the stored
    numbers, even if a TIFF declares 0 as white.

    Args:
        path: the file.
        page: page of a TIFF stack.
        check: refuse maps that do not number cells, such as black and white masks, see
            :func:`cytotome.ops.label_check.label_fault`.

    Raises:
        DataError: if the file cannot be read or is not a label map.
    """
    return read_labels(path, page=page, check=check)[0]


def read_labels(path: str | os.PathLike[str], *, page: int = 0, check: bool = True) -> tuple[IntArray, float | None]:
    """Like :func:`read_label_map`, also returns the microns per pixel of the file, None if it has none."""
    path = Path(path)
    try:
        raster = Raster(_load_npy(path)) if path.suffix.lower() == ".npy" else _load_raster(path, page)
    except ImageError as error:
        raise DataError(str(error)) from None
    labels = _checked(path, raster.pixels)
    if check and (fault := label_fault(Instances.from_label_map(labels))):
        raise DataError(f"{path}: {fault}")
    return labels, raster.scale.microns_per_pixel


def _load_npy(path: Path) -> AnyArray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); export it again") from None
    check_size(path, array.shape)
    return np.array(array)


def _load_raster(path: Path, page: int) -> Raster:
    raster = read_raster(path, page, stored=True)
    pixels = to_native(raster.pixels)
    if pixels.ndim == 3:
        grey = pixels[:, :, 0]
        if (pixels != grey[:, :, None]).any():
            raise DataError(
                f"{path}: a colour image of shape {pixels.shape} is not a label map; give one channel of labels"
            )
        pixels = grey
    return Raster(pixels, raster.scale)


def _checked(path: object, labels: AnyArray) -> IntArray:
    if labels.ndim != 2 or labels.dtype.kind not in "iubf":
        raise DataError(f"{path}: a label map must be (H, W) integers, got {labels.shape} of {labels.dtype}")
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
        raise DataError(f"{path}: a label map must contain whole numbers; this looks like an image")
    if labels.size and (labels.min() < 0 or labels.max() > np.iinfo(np.int32).max):
        raise DataError(
            f"{path}: labels must lie in 0 to {np.iinfo(np.int32).max}, found {labels.min():g} to {labels.max():g}; "
            "give the background the number 0 and renumber the cells"
        )
    return np.ascontiguousarray(labels, np.int32)
