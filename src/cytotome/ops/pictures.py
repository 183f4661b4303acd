"""Pictures of arrays: contrast, colours, outlines of cells, PNG bytes.

The layout of a PNG is that of the specification, third edition (https://www.w3.org/TR/png-3/): signature, IHDR, PLTE
for indexed colour, one IDAT with filter 0 on every row, IEND. The fastest compression of libdeflate is enough for
pictures on a screen.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from cytotome.arrays import AnyArray, ByteArray
from cytotome.ops.kernels import kernel

if TYPE_CHECKING:
    from cytotome.types import Instances

LOW, HIGH = 0.5, 99.5
"""Percentiles of the intensities that become black and white."""
SAMPLED = 1 << 16
"""Approximate number of pixels from which the percentiles are computed."""
COLOURS = 20
GREYS = 256 - COLOURS
"""Number of greys: with coloured outlines, a grey image fits a palette, which is written much faster than RGB."""

LARGEST = 4096
"""Maximum side in pixels of pictures for notebooks."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TRUE_COLOUR, INDEXED = 2, 3
EFFORT = 1


def fits_notebook(shape: tuple[int, int]) -> bool:
    """Whether an image of ``shape`` ``(H, W)`` is displayed in notebooks."""
    return min(shape) > 0 and max(shape) <= LARGEST


def encode_png(pixels: ByteArray, palette: ByteArray | None = None) -> bytes:
    """Encodes a PNG file.

    Args:
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
    return b"".join(chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def cell_colours(ids: AnyArray) -> ByteArray:
    """``(N, 3)`` uint8 RGB, bright; consecutive ids are far apart on the colour wheel."""
    turns = np.asarray(ids, np.int64) * 7 % COLOURS / COLOURS
    wheel = np.stack([turns, turns + 2 / 3, turns + 1 / 3], axis=-1) % 1.0
    colours: ByteArray = (255 * np.clip(np.abs(6 * wheel - 3) - 1, 0.15, 1.0)).astype(np.uint8)
    return colours


def picture_of_cells(instances: Instances) -> tuple[ByteArray, ByteArray]:
    """Positions ``(H, W)`` uint8 in a palette ``(K, 3)``: each cell in its colour, on black; smaller ones on top."""
    labels = instances.to_label_map()
    palette = np.concatenate([np.zeros((1, 3), np.uint8), cell_colours(np.arange(COLOURS))])
    return np.where(labels > 0, 1 + labels % COLOURS, 0).astype(np.uint8), palette


def picture_of_image(pixels: AnyArray, instances: Instances | None = None) -> tuple[ByteArray, ByteArray | None]:
    """The image with stretched contrast, and the outline of each cell in its colour.

    Args:
        pixels: ``(H, W)`` or ``(H, W, C)``; two channels are shown as the first, five or more as their mean.
        instances: the cells whose outlines are drawn.

    Returns:
        ``(H, W, 3)`` uint8 RGB and None or, for a grey image, ``(H, W)`` uint8 positions and their palette ``(256,
        3)``.
    """
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        canvas = stretch_contrast(pixels[:, :, :3], 256)
        if instances is not None:
            _outline(canvas, instances, cell_colours(instances.ids))
        return canvas, None
    if pixels.ndim == 3:
        pixels = pixels[:, :, 0] if pixels.shape[2] <= 2 else pixels.mean(axis=2, dtype=np.float32)
    canvas = stretch_contrast(pixels, GREYS)
    if instances is not None:
        _outline(canvas[:, :, None], instances, (GREYS + instances.ids[:, None] % COLOURS).astype(np.uint8))
    greys = np.repeat(np.linspace(0, 255, GREYS).round().astype(np.uint8)[:, None], 3, axis=1)
    return canvas, np.concatenate([greys, cell_colours(np.arange(COLOURS))])


def stretch_contrast(pixels: AnyArray, levels: int) -> ByteArray:
    """Grey levels, or colours, as 0 to ``levels - 1`` uint8: stretched between percentiles, with one rule for all
    channels.
    """
    step = max(1, int(np.sqrt(pixels.shape[0] * pixels.shape[1] / SAMPLED)))
    low, high = (float(value) for value in np.percentile(pixels[::step, ::step], [LOW, HIGH]))
    factor = np.float32((levels - 1) / (high - low if high > low else 1.0))
    if pixels.dtype.kind == "u":
        every = np.arange(np.iinfo(pixels.dtype).max + 1, dtype=np.float32)
        looked_up: ByteArray = _scaled(every, low, factor, levels)[pixels]
        return looked_up
    return _scaled(pixels, low, factor, levels)


def _scaled(values: AnyArray, low: float, factor: np.float32, levels: int) -> ByteArray:
    scaled: ByteArray = np.clip((values - np.float32(low)) * factor + 0.5, 0, levels - 1).astype(np.uint8)
    return scaled


def _outline(canvas: ByteArray, instances: Instances, colours: ByteArray) -> None:
    boxes = instances.boxes
    sizes = boxes[:, 2:].astype(np.int64) - boxes[:, :2]
    scratch = np.zeros(int(sizes.prod(axis=1).max(initial=0)), np.uint8)
    _draw_outlines(canvas, instances.runs, instances.offsets, boxes, colours, scratch)


@kernel
def _draw_outlines(
    canvas: AnyArray, runs: AnyArray, offsets: AnyArray, boxes: AnyArray, colours: AnyArray, scratch: AnyArray
) -> None:
    """Sets the pixels of ``canvas`` ``(H, W, C)`` that have a 4-neighbour outside their mask to its colour."""
    for i in range(len(offsets) - 1):
        top, left = boxes[i, 0], boxes[i, 1]
        height, width = boxes[i, 2] - top, boxes[i, 3] - left
        mask = scratch[: height * width].reshape(height, width)
        mask[:] = 0
        for k in range(offsets[i], offsets[i + 1]):
            mask[runs[k, 0] - top, runs[k, 1] - left : runs[k, 2] - left] = 1
        for k in range(offsets[i], offsets[i + 1]):
            y = runs[k, 0] - top
            for x in range(runs[k, 1] - left, runs[k, 2] - left):
                inside = 0 < y < height - 1 and 0 < x < width - 1
                if inside and mask[y - 1, x] and mask[y + 1, x] and mask[y, x - 1] and mask[y, x + 1]:
                    continue
                for channel in range(canvas.shape[2]):
                    canvas[y + top, x + left, channel] = colours[i, channel]
