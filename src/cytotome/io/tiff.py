"""TIFF, ImageJ TIFF and OME-TIFF: pages, their pixels and their scale."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import numpy as np
import tifffile

from cytotome.errors import ImageError
from cytotome.io.ome import names_other_files, ome_scale
from cytotome.io.raster import Raster, Scale, check_size, scale_of
from cytotome.types import AnyArray

_QUIET = logging.NullHandler()  # tifffile also logs damage, which would reach stderr without a handler
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
_PHOTOMETRIC = tifffile.PHOTOMETRIC
_UNITS = {2: "in", 3: "cm", 4: "mm", 5: "um"}
"""Units of the tag ResolutionUnit; the last two are not part of TIFF 6.0."""
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
_OTHER_COLOURS = (_PHOTOMETRIC.CIELAB, _PHOTOMETRIC.ICCLAB, _PHOTOMETRIC.ITULAB)


def read_tiff(path: Path, page: int = 0, *, stored: bool = False) -> Raster:
    """Reads one page of a TIFF, ``(H, W)``, or ``(H, W, 3)`` if the file declares its samples as colours.

    Pages are counted over all series, then over the axes of each (time, depth, channel) in the order of the file, then
    over samples that are neither colours nor alpha. As declared by the tags, alpha is dropped, CMYK and palettes become
    RGB, and white-is-zero is inverted. Planes that are in other files according to OME-XML are not pages of this file.

    Args:
        path: the file.
        page: counted from 0.
        stored: return the numbers as stored, for labels: palette indices, nothing inverted.

    Raises:
        ImageError: if the file is damaged, the size is implausible, the colours are not supported or there is no such
            page.
    """
    try:
        with _open(path) as file:
            index, plane = _locate(path, file, page)
            return Raster(_plane(path, file, index, plane, stored), _scale(path, file, index))
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
    """Opens only this file: if OME-XML also names others, the pages are those in the directory of this one.

    Micro-Manager's formats, whose index spans the files of a folder, are also read by OME-XML or directory.
    """
    logging.getLogger("tifffile").addHandler(_QUIET)
    file = tifffile.TiffFile(path, is_mmstack=False, is_ndtiff=False)
    try:
        if file.ome_metadata is None or not names_other_files(file.ome_metadata, path.name):
            return file
    except BaseException:
        file.close()
        raise
    file.close()
    return tifffile.TiffFile(path, is_ome=False, is_mmstack=False, is_ndtiff=False)


def _outer(series: tifffile.TiffPageSeries) -> int:
    """Number of planes of a series, each with all of its samples."""
    count = 1
    for axis, length in zip(series.axes, series.shape, strict=True):
        count *= 1 if axis in "YXS" else int(length)
    return count


def _channels(series: tifffile.TiffPageSeries) -> list[int]:
    """The samples of a plane that are separate planes; none if the samples are colours or there is only one."""
    page = series.keyframe
    if "S" not in series.axes or _colours(page):
        return []
    samples = int(series.shape[series.axes.index("S")])
    first = samples - len(page.extrasamples)
    return [k for k in range(samples) if k < first or page.extrasamples[k - first] not in _ALPHA]


def _colours(page: tifffile.TiffPage) -> int:
    """Number of samples that form a colour, 0 if they are separate grey levels."""
    if page.photometric in (_PHOTOMETRIC.RGB, _PHOTOMETRIC.YCBCR, *_OTHER_COLOURS):
        return 3
    return 4 if page.photometric == _PHOTOMETRIC.SEPARATED else 0


def _planes(series: tifffile.TiffPageSeries) -> int:
    return _outer(series) * max(1, len(_channels(series)))


def _page_total(file: tifffile.TiffFile) -> int:
    total = sum(_planes(series) for series in file.series)
    if total == 0:
        raise ValueError("it contains no page")
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
    channels = _channels(series)
    outer, inner = divmod(plane, max(1, len(channels)))
    pixels = _samples(path, file, index, outer)
    if pixels.ndim == 2:
        return pixels if stored else _shown(file, series.keyframe, pixels)
    if channels:
        pixels = pixels[:, :, channels[inner]]
        return pixels if stored else _shown(file, series.keyframe, pixels)
    return _to_rgb(path, series.keyframe, pixels)


def _samples(path: Path, file: tifffile.TiffFile, index: int, plane: int) -> AnyArray:
    """``(H, W)`` or ``(H, W, S)`` as stored."""
    series = file.series[index]
    shape = tuple(length for axis, length in zip(series.axes, series.shape, strict=True) if axis in "YXS")
    check_size(path, shape)
    if len(series.pages) == _outer(series):
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
    return pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def _shown(file: tifffile.TiffFile, page: tifffile.TiffPage, pixels: AnyArray) -> AnyArray:
    """Converts ``(H, W)`` stored numbers to grey levels or RGB for display, as declared by the tags.

    The palette of an ImageJ file contains false colours, so its indices are the grey levels.
    """
    if page.photometric == _PHOTOMETRIC.MINISWHITE and pixels.dtype.kind in "ub":
        return np.bitwise_not(pixels)
    if page.photometric != _PHOTOMETRIC.PALETTE or file.is_imagej or page.colormap is None:
        return pixels
    colours = page.colormap.T
    colours = (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)
    is_grey = (colours == colours[:, :1]).all()
    shown: AnyArray = (colours[:, 0] if is_grey else colours)[pixels]
    return shown


def _to_rgb(path: Path, page: tifffile.TiffPage, pixels: AnyArray) -> AnyArray:
    """``(H, W, 3)`` of ``(H, W, S)`` colour samples, without alpha and other extra samples."""
    jpeg = page.compression == tifffile.COMPRESSION.JPEG  # decoded to RGB by its codec
    inks = page.tags.valueof(332, 1) if page.photometric == _PHOTOMETRIC.SEPARATED else 1
    if page.photometric in _OTHER_COLOURS or (page.photometric == _PHOTOMETRIC.YCBCR and not jpeg) or inks != 1:
        kind = "colours of inks" if inks != 1 else _PHOTOMETRIC(page.photometric).name
        raise ImageError(f"{path}: its colours are stored as {kind}; convert it to grey or RGB")
    if page.photometric != _PHOTOMETRIC.SEPARATED:
        return pixels[:, :, :3]
    if pixels.dtype.kind != "u" or pixels.shape[2] < 4:
        raise ImageError(f"{path}: a CMYK TIFF of {pixels.shape[2]} samples of {pixels.dtype}; convert it to RGB")
    full = np.float32(np.iinfo(pixels.dtype).max)
    light = full - pixels[:, :, :4].astype(np.float32)
    return np.rint(light[:, :, :3] * (light[:, :, 3:] / full)).astype(pixels.dtype)


def _check_complete(file: tifffile.TiffFile, page: object) -> None:
    offsets, counts = getattr(page, "dataoffsets", ()), getattr(page, "databytecounts", ())
    ends = [offset + count for offset, count in zip(offsets, counts, strict=False)]
    if not ends or max(ends) > file.filehandle.size:
        raise ValueError("it ends before its last pixel")


def _scale(path: Path, file: tifffile.TiffFile, index: int) -> Scale:
    description = file.pages.first.description
    if description.rstrip().endswith("OME>"):
        return ome_scale(description, path, index)
    page = file.series[index].keyframe
    try:
        across, down = (_ratio(page.tags[name].value) for name in ("XResolution", "YResolution"))
        if file.is_imagej and file.imagej_metadata:
            unit = str(file.imagej_metadata.get("unit", ""))
            return scale_of(1 / across, 1 / down, unit, str(file.imagej_metadata.get("yunit", unit)))
        unit = _UNITS.get(int(page.tags["ResolutionUnit"].value), "")
        return scale_of(1 / across, 1 / down, unit)
    except (KeyError, ZeroDivisionError, TypeError, ValueError):
        return Scale()


def _ratio(value: tuple[int, int]) -> float:
    return float(value[0]) / float(value[1])
