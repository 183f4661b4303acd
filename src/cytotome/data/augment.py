"""Augmentation: one warp for an image and its instances, changes of grey levels, and pasted cells.

An image is warped once, directly to the crop, by one affine map that combines flip, quarter turn, free rotation, scale
and the enlargement for the network. Pixels are interpolated linearly, masks with the nearest value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cytotome.errors import ConfigError
from cytotome.ops.kernels import kernel
from cytotome.ops.labels import from_layers, to_layers
from cytotome.types import AnyArray, BoolArray, FloatArray, Instances

Probability = Annotated[float, Field(ge=0, le=1)]
Magnitude = Annotated[float, Field(ge=0)]
Matrix: TypeAlias = AnyArray
"""``(2, 3)`` float64, maps x, y of the source to x, y of the crop; pixel centres are at integers."""

MAX_LAYER_VALUE = np.iinfo(np.uint16).max


class Augmentation(BaseModel):
    """Random changes of a training crop; grey levels are those of the normalised image.

    Attributes:
        flip: probability of a flip.
        quarter_turn: probability of a rotation by 0, 90, 180 or 270 degrees.
        rotate: probability of a rotation by any angle.
        scale: minimum and maximum enlargement, sampled uniformly on a logarithmic axis.
        brightness: probability of a shift of the grey levels; ``brightness_range`` is its maximum size.
        contrast: probability of scaling the grey levels; ``contrast_range`` is the maximum deviation of the factor from
            1.
        gamma: probability of a power law; ``gamma_range`` is the maximum logarithm of its exponent.
        noise: probability of Gaussian noise; ``noise_range`` is its maximum standard deviation.
        blur: probability of a Gaussian blur; ``blur_range`` is its maximum standard deviation in pixels of the crop.
        paste: probability that cells of another crop of the same cell type are pasted in.
        paste_count: maximum number of pasted cells.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: Probability = 0.5
    quarter_turn: Probability = 1.0
    rotate: Probability = 0.5
    scale: tuple[float, float] = (0.8, 1.25)
    brightness: Probability = 0.5
    brightness_range: Magnitude = 0.15
    contrast: Probability = 0.5
    contrast_range: Magnitude = 0.3
    gamma: Probability = 0.3
    gamma_range: Magnitude = 0.4
    noise: Probability = 0.3
    noise_range: Magnitude = 0.06
    blur: Probability = 0.2
    blur_range: Magnitude = 1.2
    paste: Probability = 0.0
    paste_count: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Augmentation:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be two positive numbers, the smaller first, got {list(self.scale)}")
        return self

    @classmethod
    def none(cls) -> Augmentation:
        """No augmentation."""
        return cls(
            flip=0, quarter_turn=0, rotate=0, scale=(1, 1), brightness=0, contrast=0, gamma=0, noise=0, blur=0, paste=0
        )


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image and its instances, ready to be warped.

    Attributes:
        pixels: ``(H, W, C)`` float32, normalised.
        layers: ``(L, H, W)`` uint16 (float32 beyond 65,535 instances), positions in ``like`` + 1, as returned by
            :func:`cytotome.ops.labels.to_layers`.
        like: instances with the attributes; the masks are those of ``layers``.
        valid: ``(H, W)`` uint8, 0 for pixels excluded from the loss; None if all are valid.
        offset: shift in pixels, down and right, of the cells against their masks, which a warp corrects.
    """

    pixels: FloatArray
    layers: AnyArray
    like: Instances
    valid: AnyArray | None = None
    offset: tuple[float, float] = (0.0, 0.0)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def nbytes(self) -> int:
        """Memory use in bytes."""
        valid = 0 if self.valid is None else self.valid.nbytes
        return int(self.pixels.nbytes + self.layers.nbytes + self.like.runs.nbytes + valid)

    def instances(self) -> Instances:
        """The instances of the layers; those no longer in the picture are dropped."""
        return from_layers(self.layers.astype(np.int32), self.like)


def make_picture(
    planes: FloatArray,
    instances: Instances | None,
    ignore: BoolArray | None = None,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Picture:
    """Creates a picture from a normalised image.

    Args:
        planes: ``(C, H, W)`` float32, as returned by :func:`cytotome.data.normalise.normalise`.
        instances: may overlap; None for an image without labels, none of whose pixels are valid.
        ignore: ``(H, W)`` bool, pixels that are excluded from the loss.
        offset: shift of the cells against their masks, see :class:`Picture`.
    """
    shape = (planes.shape[1], planes.shape[2])
    valid: AnyArray | None = None if ignore is None else (~ignore).astype(np.uint8)
    if instances is None:
        instances, valid = Instances.empty(shape), np.zeros(shape, np.uint8)
    kind = np.uint16 if len(instances) <= MAX_LAYER_VALUE else np.float32
    pixels = np.ascontiguousarray(planes.transpose(1, 2, 0))
    return Picture(pixels, to_layers(instances).astype(kind), instances, valid, offset)


def draw_matrix(
    rng: np.random.Generator,
    augmentation: Augmentation,
    picture: Picture,
    crop: tuple[int, int],
    input_scale: float,
    cell_bias: float,
) -> Matrix:
    """Samples the map from a picture to a crop.

    With probability ``cell_bias``, the crop has a pixel of a uniformly sampled cell in its central half; otherwise its
    position is random. It is kept inside the picture as far as possible, also if rotated.
    """
    angle = np.pi / 2 * rng.integers(4) if rng.random() < augmentation.quarter_turn else 0.0
    square = True
    if rng.random() < augmentation.rotate:
        angle, square = rng.uniform(0, 2 * np.pi), False
    mirror = -1.0 if rng.random() < augmentation.flip else 1.0
    scale = input_scale * float(np.exp(rng.uniform(*np.log(augmentation.scale))))
    cosine, sine = np.cos(angle), np.sin(angle)
    if square:
        cosine, sine = round(cosine), round(sine)
    linear = scale * np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([mirror, 1.0])
    middle = (np.array(crop[::-1], np.float64) - 1) / 2
    size = np.array(picture.shape[::-1], np.float64)
    reach = np.abs(np.linalg.inv(linear)) @ (np.array(crop[::-1]) / 2) if square else np.array(crop[::-1]) / (2 * scale)
    low, high = np.minimum(reach, size / 2) - 0.5, np.maximum(size - reach, size / 2) - 0.5
    place = rng.uniform(-0.5, 0.5, 2)
    if len(picture.like.runs) and rng.random() < cell_bias:
        centre = _cell_pixel(rng, picture.like) + np.linalg.inv(linear) @ (place * np.array(crop[::-1]) / 2)
        centre = np.clip(centre, low, high)
    else:
        centre = low + (place + 0.5) * (high - low)
    if square and scale == 1.0:
        shift = np.abs(linear) @ middle
        centre = np.round(centre - shift) + shift
    return np.hstack([linear, (middle - linear @ centre)[:, None]])


def _cell_pixel(rng: np.random.Generator, instances: Instances) -> AnyArray:
    """x, y of a pixel of a uniformly sampled instance."""
    filled = np.flatnonzero(np.diff(instances.offsets))
    chosen = int(filled[rng.integers(len(filled))])
    row, start, stop = instances.runs[rng.integers(instances.offsets[chosen], instances.offsets[chosen + 1])]
    return np.array([rng.integers(start, stop), row], np.float64)


def warp(picture: Picture, matrix: Matrix, crop: tuple[int, int]) -> Picture:
    """Warps a picture with a map to ``crop`` (H, W).

    Outside the picture, pixels are reflected, there are no instances, and ``valid`` is 0.
    """
    size = (crop[1], crop[0])
    of_pixels = matrix.copy()
    of_pixels[:, 2] -= matrix[:, :2] @ np.array(picture.offset[::-1])
    pixels: AnyArray = cv2.warpAffine(
        picture.pixels, of_pixels, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    layers = np.empty((len(picture.layers), *crop), picture.layers.dtype)
    kept = 0
    for index, layer in enumerate(picture.layers):
        cv2.warpAffine(layer, matrix, size, dst=layers[kept], flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        kept += index == 0 or bool(layers[kept].any())
    source = np.ones(picture.shape, np.uint8) if picture.valid is None else picture.valid
    valid = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return Picture(pixels.reshape(*crop, -1), layers[:kept], picture.like, valid)


def change_grey_levels(rng: np.random.Generator, augmentation: Augmentation, pixels: FloatArray) -> FloatArray:
    """Gamma, contrast, brightness, blur and noise on ``(H, W, C)`` float32, each with its own probability."""
    if rng.random() < augmentation.gamma:
        pixels = _power(pixels, float(np.exp(rng.uniform(-1, 1) * augmentation.gamma_range)))
    factor, shift = 1.0, 0.0
    if rng.random() < augmentation.contrast:
        factor = 1.0 + rng.uniform(-1, 1) * augmentation.contrast_range
    if rng.random() < augmentation.brightness:
        shift = rng.uniform(-1, 1) * augmentation.brightness_range
    if (factor, shift) != (1.0, 0.0):
        mean = float(pixels.mean())
        pixels = pixels * np.float32(factor) + np.float32(mean * (1 - factor) + shift)
    if rng.random() < augmentation.blur and augmentation.blur_range > 0:
        sigma = max(0.3, rng.uniform(0, 1) * augmentation.blur_range)
        blurred: AnyArray = cv2.GaussianBlur(pixels, (0, 0), sigma)
        pixels = blurred.reshape(pixels.shape)
    if rng.random() < augmentation.noise:
        deviation = np.float32(rng.uniform(0, 1) * augmentation.noise_range)
        pixels = pixels + deviation * rng.standard_normal(pixels.shape, np.float32)
    return pixels


def _power(pixels: FloatArray, exponent: float) -> FloatArray:
    low, high = float(pixels.min()), float(pixels.max())
    if high <= low:
        return pixels
    unit = cv2.pow((pixels - np.float32(low)) * np.float32(1 / (high - low)), exponent)
    result: FloatArray = unit.reshape(pixels.shape) * np.float32(high - low) + np.float32(low)
    return result


def paste_cells(
    rng: np.random.Generator, target: Picture, donor: Picture, count: int, *, margin: int = 5, max_overlap: float = 0.2
) -> Picture:
    """Pastes up to ``count`` cells of a donor of the same size into a picture, each at its position in the donor.

    Only cells that are completely inside the donor are used, and that overlap cells of the target by at most
    ``max_overlap`` of their own pixels. They are pasted with a margin of ``margin`` pixels, which contains the halo and
    is blended into the target, and hide what is below them. Their grey levels are shifted by the mean difference of the
    two pictures around them (after Ghiasi et al. 2021, Simple Copy-Paste, arXiv 2012.07177).

    Raises:
        ConfigError: if the sizes differ.
    """
    if target.shape != donor.shape:
        raise ConfigError(f"paste_cells: donor is {donor.shape}, target {target.shape}; warp both to one crop first")
    total, own, whole, covered = _cell_overlaps(donor.layers, target.layers, len(donor.like))
    candidates = np.flatnonzero((total >= 1) & whole & (covered <= max_overlap * np.maximum(total, 1)) & (own == total))
    if len(candidates) == 0:
        return target
    chosen = rng.permutation(candidates)[: int(rng.integers(1, count + 1))]
    table = np.zeros(len(donor.like) + 1, np.uint16)
    table[chosen + 1] = np.arange(1, len(chosen) + 1) + len(target.like)
    if len(target.like) + len(chosen) > MAX_LAYER_VALUE:
        return target
    pasted = table[donor.layers.astype(np.int32)].max(axis=0)
    mask = pasted > 0
    if donor.valid is not None and not donor.valid[mask].all():
        return target
    others = (donor.layers > 0).any(axis=0) & ~mask
    pixels = _blend(target, donor, mask, others, margin)
    layers = np.where(mask, 0, target.layers)
    layers[0] = np.where(mask, pasted, layers[0])
    valid = None if target.valid is None else np.where(mask, 1, target.valid).astype(np.uint8)
    return Picture(pixels, layers.astype(np.uint16), _joined(target.like, donor.like.select(chosen)), valid)


def _blend(target: Picture, donor: Picture, mask: BoolArray, others: BoolArray, margin: int) -> FloatArray:
    grown = cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1,) * 2))
    grown[others | (target.layers > 0).any(axis=0)] = 0
    ring = (grown > 0) & ~mask
    grown[mask] = 1
    alpha: AnyArray = cv2.GaussianBlur(grown.astype(np.float32), (0, 0), margin / 3)
    alpha[mask] = np.maximum(alpha[mask], np.float32(0.9))
    if ring.any():
        shift = (target.pixels[ring] - donor.pixels[ring]).mean(axis=0, dtype=np.float32)
    else:
        shift = np.zeros(target.pixels.shape[2], np.float32)
    blended: FloatArray = target.pixels + alpha[:, :, None] * (donor.pixels + shift - target.pixels)
    return blended


def _cell_overlaps(donor: AnyArray, target: AnyArray, count: int) -> tuple[AnyArray, AnyArray, BoolArray, AnyArray]:
    """For each donor cell: pixels, pixels of no other donor cell, whether it is complete, pixels on cells of the
    target.
    """
    found = _count_overlaps(donor.astype(np.int32), np.any(target > 0, axis=0), count)
    return found[0], found[1], found[2] == 0, found[3]


@kernel
def _count_overlaps(donor: AnyArray, occupied: AnyArray, count: int) -> AnyArray:
    """``(4, count)`` int64 for each donor cell: pixels, pixels of no other cell, pixels at the border, pixels on cells
    of the target.

    Args:
        donor: ``(L, H, W)`` int32 layers, values are cell + 1.
        occupied: ``(H, W)`` bool, pixels of the target's cells.
        count: number of donor cells.
    """
    layers, height, width = donor.shape
    table = np.zeros((4, count), np.int64)
    for y in range(height):
        for x in range(width):
            depth = 0
            for layer in range(layers):
                depth += donor[layer, y, x] > 0
            for layer in range(layers):
                cell = donor[layer, y, x] - 1
                if cell >= 0:
                    table[0, cell] += 1
                    table[1, cell] += depth == 1
                    table[2, cell] += y == 0 or x == 0 or y == height - 1 or x == width - 1
                    table[3, cell] += occupied[y, x]
    return table


def _joined(first: Instances, second: Instances) -> Instances:
    """The concatenated attributes of both, with new ids; masks are not kept (they are in the layers)."""
    count = len(first) + len(second)
    return Instances(
        shape=first.shape,
        runs=np.zeros((0, 3), np.int32),
        offsets=np.zeros(count + 1, np.int64),
        scores=np.concatenate([first.scores, second.scores]),
        classes=np.concatenate([first.classes, second.classes]),
        ids=np.arange(1, count + 1, dtype=np.int32),
        class_names=first.class_names,
    )
