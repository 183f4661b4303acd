"""Decoding of any supported image file to its stored pixels; the format is detected from the content."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from cytotome.errors import ImageError
from cytotome.io.bitmap import read_jpeg, read_png
from cytotome.io.raster import Raster
from cytotome.io.tiff import read_tiff

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_raster(path: str | os.PathLike[str], page: int = 0, *, stored: bool = False) -> Raster:
    """Decodes one page of a file; the format is detected from its content, not from its name.

    Args:
        path: the file.
        page: page of a TIFF stack.
        stored: return the stored numbers instead of the colours they represent: palette indices, and 0 for white if the
            file stores it so.

    Raises:
        ImageError: if the file is missing, empty, damaged, of another format, too large, or has no such page.
    """
    path = Path(path)
    kind = sniff(path)
    if kind == "tiff":
        return read_tiff(path, page, stored=stored)
    if page != 0:
        raise ImageError(f"{path}: has no page {page}; a {kind.upper()} file has page 0 only")
    data = path.read_bytes()
    try:
        return read_png(path, data, stored=stored) if kind == "png" else read_jpeg(path, data)
    except (ValueError, RuntimeError, OSError, struct.error, IndexError) as error:
        raise ImageError(f"{path}: damaged {kind.upper()} file ({error}); export it again") from None


def sniff(path: Path) -> str:
    """Returns ``png``, ``jpeg`` or ``tiff``, detected from the first bytes.

    Raises:
        ImageError: if the file cannot be read, is empty or has another format.
    """
    try:
        with open(path, "rb") as handle:
            head = handle.read(8)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    if not head:
        raise ImageError(f"{path}: the file is empty (0 bytes); remove it or export it again")
    if head == _PNG:
        return "png"
    if head.startswith(_JPEG):
        return "jpeg"
    if head.startswith(_TIFF):
        return "tiff"
    raise ImageError(f"{path}: not a PNG, JPEG or TIFF file (by its content); convert it to one of them")
