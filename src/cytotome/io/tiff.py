"""TIFF, ImageJ TIFF and OME-TIFF: pages, their pixels and their scale."""

from __future__ import annotations

import logging
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from cytotome.errors import ImageError
from cytotome.io.raster import Raster, check_size, real_scale
from cytotome.types import AnyArray

_QUIET = logging.NullHandler()  # tifffile logs damage besides raising on it; without a handler that reaches stderr
_DAMAGE = (
    tifffile.TiffFileError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    NotImplementedError,
    OverflowError,
    ZeroDivisionError,
    struct.error,
    EOFError,
    OSError,
    AssertionError,
    MemoryError,
)
_MICRONS = {
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "\\u00b5m": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "m": 1e6,
    "inch": 25400.0,
}


def read_tiff(path: Path, page: int = 0, *, stored: bool = False) -> Raster:
    """One page of a TIFF, ``(H, W)`` or ``(H, W, C)`` as stored; white-is-zero is turned unless ``stored``,
    palettes stay indices.

    Pages are counted over all series, then over the axes of each (time, depth, channel) in the order of the file.

    Raises:
        ImageError: for a damaged file, an absurd size, or a page that is not there.
    """
    try:
        with _open(path) as file:
            series_index, plane = _locate(path, file, page)
            pixels = _plane(path, file, series_index, plane, stored)
            return Raster(pixels, _scale(file, series_index))
    except _DAMAGE as error:
        raise ImageError(f"{path}: damaged TIFF file ({error}); export it again") from None


def tiff_page_count(path: Path) -> int:
    """Number of pages that :func:`read_tiff` can read."""
    try:
        with _open(path) as file:
            return _page_total(file)
    except _DAMAGE as error:
        raise ImageError(f"{path}: damaged TIFF file ({error}); export it again") from None


def _open(path: Path) -> tifffile.TiffFile:
    logging.getLogger("tifffile").addHandler(_QUIET)
    return tifffile.TiffFile(path)


def _planes(series: tifffile.TiffPageSeries) -> int:
    count = 1
    for axis, length in zip(series.axes, series.shape, strict=True):
        count *= 1 if axis in "YXS" else int(length)
    return count


def _page_total(file: tifffile.TiffFile) -> int:
    total = sum(_planes(series) for series in file.series)
    if total == 0:
        raise ValueError("it holds no page")
    return total


def _locate(path: Path, file: tifffile.TiffFile, page: int) -> tuple[int, int]:
    total = _page_total(file)
    before = 0
    for index, series in enumerate(file.series):
        planes = _planes(series)
        if 0 <= page - before < planes:
            return index, page - before
        before += planes
    raise ImageError(f"{path}: has no page {page}; it has pages 0 to {total - 1}")


def _plane(path: Path, file: tifffile.TiffFile, index: int, plane: int, stored: bool) -> AnyArray:
    series = file.series[index]
    shape = tuple(length for axis, length in zip(series.axes, series.shape, strict=True) if axis in "YXS")
    check_size(path, shape)
    if len(series.pages) == _planes(series):
        page = series.pages[plane]
        _check_complete(file, page)
        axes = series.keyframe.axes
        pixels: AnyArray = file.asarray(series=index, key=plane)
    else:
        check_size(path, series.shape)
        for page in series.pages:
            _check_complete(file, page)
        pixels, axes = series.asarray(), series.axes
    order = [axis for axis in range(len(axes)) if axes[axis] not in "YXS"]
    order += [axes.index(axis) for axis in "YXS" if axis in axes]
    spatial = 3 if "S" in axes else 2
    pixels = pixels.transpose(order).reshape(-1, *(pixels.shape[axis] for axis in order[-spatial:]))
    pixels = pixels[plane if len(pixels) > 1 else 0]
    if not stored and series.keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind in "ub":
        pixels = np.bitwise_not(pixels)
    return pixels


def _check_complete(file: tifffile.TiffFile, page: object) -> None:
    offsets, counts = getattr(page, "dataoffsets", ()), getattr(page, "databytecounts", ())
    own = getattr(getattr(page, "parent", None), "filehandle", file.filehandle)
    ends = [offset + count for offset, count in zip(offsets, counts, strict=False)]
    if not ends or max(ends) > own.size:
        raise ValueError("it ends before its last pixel")


def _scale(file: tifffile.TiffFile, index: int) -> float | None:
    if file.is_ome and file.ome_metadata:
        return _ome_scale(file.ome_metadata, index)
    tags = file.series[index].keyframe.tags
    try:
        across, down = (_ratio(tags[name].value) for name in ("XResolution", "YResolution"))
        if file.is_imagej and file.imagej_metadata:
            unit = str(file.imagej_metadata.get("unit", "")).strip().lower()
        else:
            code = tags["ResolutionUnit"].value
            unit = {tifffile.RESUNIT.CENTIMETER: "cm", tifffile.RESUNIT.INCH: "inch"}.get(code, "")
        microns = _MICRONS[unit]
        return real_scale(microns / across, microns / down)
    except (KeyError, ZeroDivisionError, TypeError, ValueError):
        return None


def _ratio(value: tuple[int, int]) -> float:
    return float(value[0]) / float(value[1])


def _ome_scale(text: str, index: int) -> float | None:
    try:
        found = [node for node in ElementTree.fromstring(text).iter() if node.tag.rpartition("}")[2] == "Pixels"]
        pixels = found[index if index < len(found) else 0].attrib
        across = float(pixels["PhysicalSizeX"]) * _MICRONS[pixels.get("PhysicalSizeXUnit", "µm").lower()]
        if "PhysicalSizeY" not in pixels:
            return real_scale(across, across)
        down = float(pixels["PhysicalSizeY"]) * _MICRONS[pixels.get("PhysicalSizeYUnit", "µm").lower()]
        return real_scale(across, down)
    except (ElementTree.ParseError, KeyError, ValueError, IndexError):
        return None
