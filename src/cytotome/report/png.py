"""PNG files at the speed of libdeflate; pictures that are looked at need no better compression.

The layout is that of the PNG specification, third edition (https://www.w3.org/TR/png-3/): signature, IHDR, PLTE for
indexed colour, one IDAT with filter 0 on every row, IEND.
"""

from __future__ import annotations

import os
import struct
import zlib

import imagecodecs
import numpy as np
import numpy.typing as npt

from cytotome.io.files import atomic_path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TRUE_COLOUR, INDEXED = 2, 3
EFFORT = 1


def write_png(
    path: str | os.PathLike[str], pixels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8] | None = None
) -> None:
    """Writes a picture, whole or not at all.

    Args:
        path: the file.
        pixels: ``(H, W, 3)`` uint8 RGB, or ``(H, W)`` uint8 positions in ``palette``.
        palette: ``(K, 3)`` uint8 RGB, K at most 256.
    """
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    kind = TRUE_COLOUR if palette is None else INDEXED
    chunks = [SIGNATURE, _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))]
    if palette is not None:
        chunks.append(_chunk(b"PLTE", palette.tobytes()))
    chunks += [_chunk(b"IDAT", bytes(imagecodecs.deflate_encode(rows.tobytes(), level=EFFORT))), _chunk(b"IEND", b"")]
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join(chunks))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
