"""The outlines of the cells, in colour, on the image with its contrast stretched."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from cytotome.ops.kernels import kernel
from cytotome.report.png import write_png
from cytotome.types import AnyArray, Image, Instances

LOW, HIGH = 0.5, 99.5
"""Percentiles of the grey levels that become black and white."""
SAMPLED = 1 << 16
"""Pixels, about, that the percentiles are taken over."""
COLOURS = 20
GREYS = 256 - COLOURS
"""A grey image with coloured outlines fits a palette, which is written in a fraction of the time of RGB."""

Bytes = npt.NDArray[np.uint8]


def draw_overlay(image: Image, instances: Instances) -> Bytes:
    """``(H, W, 3)`` uint8 RGB: the image, stretched, with the outline of each cell in its own colour.

    The outline is the cell's own outermost pixels (4-neighbourhood), so that cells that touch stay apart. Colours
    follow from ids alone.
    """
    canvas, palette = _draw(image, instances)
    picture: Bytes = canvas if palette is None else palette[canvas]
    return picture


def write_overlay(path: str | os.PathLike[str], image: Image, instances: Instances) -> None:
    """Writes :func:`draw_overlay` as PNG, whole or not at all."""
    canvas, palette = _draw(image, instances)
    write_png(path, canvas, palette)


def cell_colours(ids: AnyArray) -> Bytes:
    """``(N, 3)`` uint8 RGB, bright; ids that follow each other are far apart on the wheel."""
    turns = np.asarray(ids, np.int64) * 7 % COLOURS / COLOURS
    wheel = np.stack([turns, turns + 2 / 3, turns + 1 / 3], axis=-1) % 1.0
    colours: Bytes = (255 * np.clip(np.abs(6 * wheel - 3) - 1, 0.15, 1.0)).astype(np.uint8)
    return colours


def _draw(image: Image, instances: Instances) -> tuple[Bytes, Bytes | None]:
    """RGB pixels, or positions in the palette that comes with them."""
    pixels = image.pixels
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        canvas = stretch_contrast(pixels[:, :, :3], 256)
        _outline(canvas, instances, cell_colours(instances.ids))
        return canvas, None
    if pixels.ndim == 3:
        pixels = pixels[:, :, 0] if pixels.shape[2] <= 2 else pixels.mean(axis=2, dtype=np.float32)
    canvas = stretch_contrast(pixels, GREYS)
    _outline(canvas[:, :, None], instances, (GREYS + instances.ids[:, None] % COLOURS).astype(np.uint8))
    greys = np.repeat(np.linspace(0, 255, GREYS).round().astype(np.uint8)[:, None], 3, axis=1)
    return canvas, np.concatenate([greys, cell_colours(np.arange(COLOURS))])


def stretch_contrast(pixels: AnyArray, levels: int) -> Bytes:
    """Grey levels, or colours, as 0 to ``levels - 1`` uint8: percentiles to the ends, one rule for all channels."""
    step = max(1, int(np.sqrt(pixels.shape[0] * pixels.shape[1] / SAMPLED)))
    low, high = (float(value) for value in np.percentile(pixels[::step, ::step], [LOW, HIGH]))
    factor = np.float32((levels - 1) / (high - low if high > low else 1.0))
    if pixels.dtype.kind == "u":
        every = np.arange(np.iinfo(pixels.dtype).max + 1, dtype=np.float32)
        looked_up: Bytes = _scaled(every, low, factor, levels)[pixels]
        return looked_up
    return _scaled(pixels, low, factor, levels)


def _scaled(values: AnyArray, low: float, factor: np.float32, levels: int) -> Bytes:
    scaled: Bytes = np.clip((values - np.float32(low)) * factor + 0.5, 0, levels - 1).astype(np.uint8)
    return scaled


def _outline(canvas: Bytes, instances: Instances, colours: Bytes) -> None:
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
