"""PNG and JPEG."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np

from cytotome.errors import ImageError
from cytotome.io.raster import Raster, Scale, check_size, colours_of, scale_of

_PALETTE = 3
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


def read_png(path: Path, data: bytes, *, stored: bool = False) -> Raster:
    """Returns pixels and scale of a PNG; a palette becomes RGB or, if ``stored``, its indices; alpha is dropped.

    Raises:
        ImageError: if the size is implausible.
        ValueError, RuntimeError, OSError, struct.error: if the file is damaged.
    """
    width, height, _, colour = struct.unpack(">IIBB", data[16:26])
    if len(data) < 33 or data[12:16] != b"IHDR" or colour not in _PNG_CHANNELS:
        raise ValueError("its header is not readable")
    check_size(path, (height, width, _PNG_CHANNELS[colour]))
    scale = _check_chunks(data)
    if stored and colour == _PALETTE:
        from PIL import Image as PillowImage

        with PillowImage.open(io.BytesIO(data)) as picture:
            return Raster(np.array(picture), scale)
    return Raster(colours_of(imagecodecs.png_decode(data)), scale)


def _check_chunks(data: bytes) -> Scale:
    """Verifies the checksums of all chunks up to IEND; returns the scale of the pHYs chunk (pixels per metre), if
    plausible.
    """
    at, scale, name = 8, Scale(), b""
    while name != b"IEND":
        if at + 12 > len(data):
            raise ValueError("it ends before its last pixel")
        length, name = struct.unpack(">I4s", data[at : at + 8])
        end = at + 8 + length
        if end + 4 > len(data):
            raise ValueError("it ends before its last pixel")
        if zlib.crc32(memoryview(data)[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(f"the checksum of {name.decode('latin-1')!r} is wrong")
        if name == b"pHYs" and length == 9:
            across, down, unit = struct.unpack(">IIB", data[at + 8 : end])
            scale = scale_of(1 / across, 1 / down, "m") if unit == 1 and across and down else Scale()
        at = end + 4
    return scale


def read_jpeg(path: Path, data: bytes) -> Raster:
    """Returns the pixels of a JPEG, grey or RGB.

    Raises:
        ImageError: if the size is implausible or the file is CMYK.
        ValueError, RuntimeError, struct.error: if the file is damaged.
    """
    shape, scan = _jpeg_frame(data)
    check_size(path, shape)
    if data.rfind(b"\xff\xd9") < scan:
        raise ValueError("it ends before its last pixel")
    if shape[2] == 4:
        raise ImageError(f"{path}: a CMYK JPEG; convert it to grey or RGB")
    pixels = imagecodecs.jpeg_decode(data)
    if pixels.shape[:2] != shape[:2]:
        raise ValueError("its pixels do not match its header")
    return Raster(colours_of(pixels))


def _jpeg_frame(data: bytes) -> tuple[tuple[int, int, int], int]:
    """``(height, width, channels)`` of the frame header, and the start of the first scan."""
    at, shape = 2, None
    while at + 4 <= len(data):
        marker, length = struct.unpack(">xBH", data[at : at + 4])
        if data[at] != 0xFF:
            break
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            shape = struct.unpack(">HHB", data[at + 5 : at + 10])
        if marker == 0xDA and shape is not None:
            return (int(shape[0]), int(shape[1]), int(shape[2])), at
        at += 2 + length
    raise ValueError("its header is not readable")
