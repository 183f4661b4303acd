"""One synthetic image: placement and overlaps of cells, and other objects in the dish."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from cytotome.datasets.synthetic.kinds import REFERENCE_PIXELS, Kind
from cytotome.datasets.synthetic.optics import granules, phase_contrast, record, smooth_field
from cytotome.datasets.synthetic.shapes import Outline, Points, draw_outline
from cytotome.datasets.synthetic.strokes import paint_beads, paint_neurites
from cytotome.ops.kernels import kernel
from cytotome.types import AnyArray, BoolArray, FloatArray, Instances

TRIES = 24
PLACES = 3
STRIDE = 2.5
FINE = 2
LEAST_PIXELS = 30


@dataclass(eq=False)
class Scene:
    """A dish during construction; ``phase`` and ``granules`` are ``(H, W)`` float32, ``cover`` counts masks."""

    kind: Kind
    shape: tuple[int, int]
    random: np.random.Generator
    phase: FloatArray = field(init=False)
    cover: npt.NDArray[np.uint8] = field(init=False)
    masks: list[BoolArray] = field(default_factory=list)
    origins: list[tuple[int, int]] = field(default_factory=list)
    outlines: list[Outline] = field(default_factory=list)
    centres: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.phase = np.zeros(self.shape, np.float32)
        self.cover = np.zeros(self.shape, np.uint8)
        self.granules = granules(self.shape, self.random)
        self.density = smooth_field(self.shape, 6, self.random)
        self.direction = smooth_field(self.shape, 4, self.random) * 1.2

    @property
    def part(self) -> float:
        """Number of pixels, relative to an image of the challenge."""
        return self.shape[0] * self.shape[1] / REFERENCE_PIXELS


def render(kind: Kind, shape: tuple[int, int], random: np.random.Generator) -> tuple[npt.NDArray[np.uint8], Instances]:
    """Returns an image of one cell type, ``(H, W)`` uint8, and the exact masks of its cells, with overlaps."""
    scene = Scene(kind, shape, random)
    median, spread = kind.count
    wanted = np.clip(median * np.exp(random.normal(0, spread)), *kind.count_limits)
    for _ in range(max(1, round(float(wanted) * scene.part))):
        _add_cell(scene)
    _add_neurites(scene)
    _add_debris(scene)
    levels = phase_contrast(scene.phase, gain=random.uniform(300, 380), focus=random.uniform(0.3, 0.45))
    image = record(levels, noise=random.uniform(1.1, 2.0), shade=random.uniform(0.2, 1.2), random=random)
    return image, Instances.from_masks(scene.masks, shape=shape, origins=np.array(scene.origins))


def _add_cell(scene: Scene) -> None:
    """Places one cell such that it overlaps others by at most a random fraction; gives up after some attempts."""
    kind, random = scene.kind, scene.random
    forms, weights = zip(*kind.forms, strict=True)
    form = forms[random.choice(len(forms), p=weights)]
    area = float(np.clip(kind.area[0] * np.exp(random.normal(0, kind.area[1])), 35, 6000))
    outline = draw_outline(form, area, random)
    for _ in range(PLACES):
        y, x = _free_place(scene)
        turn = float(scene.direction[y, x]) + random.normal(0, 0.5)
        turned = outline.rotated(turn if form != "corner" else random.uniform(0, 2 * np.pi))
        fine, corner = _draw(turned)
        mask = cv2.resize(fine, None, fx=1 / FINE, fy=1 / FINE, interpolation=cv2.INTER_AREA) >= 128
        place = _settle(scene, mask, corner, (y, x), allowed=random.exponential(kind.overlap))
        if place is not None:
            origin = (place[0] + corner[0], place[1] + corner[1])
            _raise(scene, fine, mask, origin, form == "sheet")
            scene.masks.append(mask)
            scene.origins.append(origin)
            scene.outlines.append(turned)
            scene.centres.append(place)
            return


def _free_place(scene: Scene) -> tuple[int, int]:
    """A position y, x in contact with another cell, or anywhere, with a preference for high density."""
    random, (height, width) = scene.random, scene.shape
    if scene.centres and random.random() < scene.kind.contact:
        y, x = scene.centres[random.integers(len(scene.centres))]
        return min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    for _ in range(4):
        y, x = int(random.integers(height)), int(random.integers(width))
        if random.normal() * 0.7 < scene.density[y, x]:
            break
    return y, x


def _draw(outline: Outline) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """Draws the cell as 0 and 255 at ``FINE`` times the resolution; also y, x of the crop's corner from the cell's
    centre.
    """
    points = np.concatenate(outline.polygons)
    low, high = np.floor(points.min(axis=0)).astype(int) - 1, np.ceil(points.max(axis=0)).astype(int) + 2
    canvas = np.zeros(((high[1] - low[1]) * FINE, (high[0] - low[0]) * FINE), np.uint8)
    for polygon in outline.polygons:
        cv2.fillPoly(canvas, [np.rint((polygon - low) * FINE * 16).astype(np.int32)], 255, shift=4)
    return canvas, (int(low[1]), int(low[0]))


def _settle(
    scene: Scene, mask: BoolArray, corner: tuple[int, int], place: tuple[int, int], allowed: float
) -> tuple[int, int] | None:
    """Moves outwards from ``place`` until the fraction of the mask that overlaps others is at most ``allowed``."""
    way = scene.random.uniform(0, 2 * np.pi)
    steps = STRIDE * np.arange(TRIES)[:, None] * [np.sin(way), np.cos(way)]
    places = np.rint(steps).astype(np.int64) + place
    chosen = _first_free(scene.cover, mask, places + corner, allowed)
    return (int(places[chosen, 0]), int(places[chosen, 1])) if chosen >= 0 else None


@kernel
def _first_free(cover: AnyArray, mask: AnyArray, origins: AnyArray, allowed: float) -> int:
    """Index of the first origin (y, x) at which the covered part of the mask is small enough.

    -1 if there is none, or the mask leaves the image before.
    """
    for number in range(len(origins)):
        y0, x0 = origins[number]
        pixels, covered = 0, 0
        for y in range(max(0, -y0), min(len(mask), len(cover) - y0)):
            for x in range(max(0, -x0), min(mask.shape[1], cover.shape[1] - x0)):
                if mask[y, x]:
                    pixels += 1
                    covered += cover[y + y0, x + x0] != 0
        if pixels < LEAST_PIXELS:
            return -1
        if covered <= allowed * pixels:
            return number
    return -1


def _window(
    scene: Scene, size: tuple[int, ...], origin: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the image under a crop, and the part of the crop inside the image."""
    image, crop = [], []
    for length, start, limit in zip(size, origin, scene.shape, strict=True):
        begin, end = max(0, start), min(limit, start + length)
        image.append(slice(begin, max(begin, end)))
        crop.append(slice(begin - start, max(begin, end) - start))
    return (image[0], image[1]), (crop[0], crop[1])


def _raise(scene: Scene, fine: npt.NDArray[np.uint8], mask: BoolArray, origin: tuple[int, int], flat: bool) -> None:
    """Adds the cell's height to the phase: a rising rim, a grainy inside and a nucleus."""
    kind, random = scene.kind, scene.random
    height = random.uniform(*kind.height) * (0.3 if flat else 1.0)
    rim = random.uniform(*kind.rim) * FINE
    padded = cv2.copyMakeBorder(fine, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    rising = 1 - np.square(1 - np.minimum(distance / rim, 1))
    middle = np.asarray(distance / max(float(distance.max()), 1.0), np.float32)
    bulge = 0.5 * np.square(np.clip(1.6 * middle - 0.6, 0, 1))
    slope = np.add.outer(
        np.linspace(-1, 1, len(fine), dtype=np.float32) * random.normal(0, 0.35),
        np.linspace(-1, 1, fine.shape[1], dtype=np.float32) * random.normal(0, 0.35),
    )
    fine_dome = np.asarray(rising * (1 + slope) + bulge, np.float32)
    dome = cv2.resize(fine_dome, mask.shape[::-1], interpolation=cv2.INTER_AREA)
    window, part = _window(scene, mask.shape, origin)
    if flat:
        dome = dome + _fibres(scene, mask)
    grain = kind.granularity * height * (2.0 if flat else 1.0)
    inside = cv2.resize(middle, mask.shape[::-1], interpolation=cv2.INTER_AREA)[part]
    texture = np.float32(grain) * scene.granules[window] * (0.25 + 0.75 * inside)
    scene.phase[window] += np.float32(height) * dome[part] + texture * mask[part]
    scene.cover[window] += mask[part]


def _fibres(scene: Scene, mask: BoolArray) -> FloatArray:
    """``(h, w)`` float32, fibres along a flat cell."""
    random, (height, width) = scene.random, mask.shape
    count = int(random.integers(4, 10))
    layer = np.zeros(mask.shape, np.float32)
    y, x = np.nonzero(mask)
    along = 0.5 * np.arctan2(2 * np.cov(x, y)[0, 1], np.var(x) - np.var(y))
    chosen = random.integers(len(y), size=count)
    starts = np.stack([x[chosen], y[chosen]], axis=1).astype(float)
    angles = along + random.normal(0, 0.08, count) + np.pi * random.integers(2, size=count)
    reach = random.uniform(0.2, 0.7, count) * np.hypot(height, width)
    paint_neurites(layer, starts, angles, reach, np.full(count, 0.6), 0.9, random, wander=0.03)
    return np.asarray(layer * mask, np.float32)


def _add_neurites(scene: Scene) -> None:
    kind, random = scene.kind, scene.random
    centres = np.array(scene.centres, float).reshape(-1, 2)
    starts: list[Points] = []
    angles: list[float] = []
    lengths: list[float] = []
    for (y, x), outline in zip(scene.centres, scene.outlines, strict=True):
        count = min(len(outline.reach), int(random.integers(kind.neurites[0], kind.neurites[1] + 1)))
        for point in outline.reach[random.permutation(len(outline.reach))[:count]]:
            angle, length = _aim(scene, point, centres - (y, x))
            starts.append(point * 0.9 + [x, y])
            angles.append(angle)
            lengths.append(length)
    for _ in range(round(random.integers(kind.strays[0], kind.strays[1] + 1) * scene.part)):
        start, angle = _at_border(scene)
        starts.append(start)
        angles.append(angle)
        lengths.append(60 + random.exponential(160))
    widths = kind.neurite_width * random.uniform(0.6, 1.5, len(starts))
    limited = np.minimum(np.array(lengths), 400)
    points = np.array(starts).reshape(-1, 2)
    paint_neurites(scene.phase, points, np.array(angles), limited, widths, kind.neurite_height, random)


def _at_border(scene: Scene) -> tuple[Points, float]:
    """A point x, y just outside the image, and a direction that leads into it."""
    random, (height, width) = scene.random, scene.shape
    inside = random.uniform(0.1, 0.9, 2) * [width, height]
    angle = random.uniform(0, 2 * np.pi)
    reach = np.hypot(height, width)
    way = np.array([np.cos(angle), np.sin(angle)])
    steps = np.arange(0.0, reach, 4.0)
    points = inside - steps[:, None] * way
    outside = ((points < 0) | (points > [width, height])).any(axis=1)
    return points[np.argmax(outside)], angle


def _aim(scene: Scene, point: Points, offsets: Points) -> tuple[float, float]:
    """Direction and length of a neurite that leaves a cell at ``point``: outwards, or to another cell in that
    direction.

    ``offsets`` ``(N, 2)`` lead from the cell to all others, y and x.
    """
    kind, random = scene.kind, scene.random
    outwards = float(np.arctan2(point[1], point[0]))
    if random.random() < kind.connected:
        turn = np.arctan2(offsets[:, 0], offsets[:, 1]) - outwards
        distance = np.hypot(offsets[:, 0], offsets[:, 1])
        near = np.flatnonzero((distance > 15) & (distance < 90) & (np.cos(turn) > 0.6))
        if len(near):
            other = near[random.integers(len(near))]
            return outwards + float(np.arctan2(np.sin(turn[other]), np.cos(turn[other]))), float(distance[other])
    return outwards, 8 + float(random.exponential(kind.neurite_length))


def _add_debris(scene: Scene) -> None:
    kind, random = scene.kind, scene.random
    size = np.array(scene.shape[::-1], float)
    count = round(random.integers(kind.debris[0], kind.debris[1] + 1) * scene.part)
    centres = [random.uniform(0, 1, (count, 2)) * size]
    radii = [np.minimum(0.5 + random.exponential(0.9, count), 4.0)]
    joined = random.integers(count, size=count // 2) if count else np.zeros(0, np.int64)
    centres.append(centres[0][joined] + radii[0][joined, None] * random.normal(0, 1.0, (len(joined), 2)))
    radii.append(radii[0][joined] * random.uniform(0.4, 0.9, len(joined)))
    for _ in range(round(random.integers(kind.clumps[0], kind.clumps[1] + 1) * scene.part)):
        beads = int(random.integers(5, 32))
        centres.append(random.uniform(0, 1, 2) * size + random.normal(0, 1.15 * np.sqrt(beads), (beads, 2)))
        radii.append(random.uniform(1.3, 3.0, beads))
    all_radii = np.concatenate(radii)
    strength = random.uniform(0.9, 2.4, len(all_radii))
    strength[count + len(joined) :] *= 0.5
    heights = np.minimum(0.6 * all_radii, 1.0) * strength
    paint_beads(scene.phase, np.concatenate(centres), all_radii, heights)
