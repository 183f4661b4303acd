"""Fast writing of PNG files with libdeflate."""

from __future__ import annotations

import os

from cytotome.arrays import ByteArray
from cytotome.io.files import atomic_path
from cytotome.ops.pictures import encode_png


def write_png(path: str | os.PathLike[str], pixels: ByteArray, palette: ByteArray | None = None) -> None:
    """Writes a picture atomically; ``pixels`` and ``palette`` as in :func:`encode_png`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode_png(pixels, palette))
