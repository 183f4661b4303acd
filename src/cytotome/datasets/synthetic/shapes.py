"""Outlines of cells, as polygons around the origin.

A polygon is ``(P, 2)`` float64 of x, y in pixels; a cell is the union of its polygons. ``reach`` contains the points
where neurites leave, ``(K, 2)`` of x, y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from cytotome.datasets.synthetic.kinds import Form

Points = npt.NDArray[np.float64]
LEAST_AREA: dict[Form, float] = {"star": 300.0, "sheet": 550.0}


@dataclass(frozen=True, slots=True)
class Outline:
    """The union of polygons, and where neurites leave it."""

    polygons: tuple[Points, ...]
    reach: Points

    def rotated(self, angle: float) -> Outline:
        """Returns the outline rotated about the origin by ``angle`` in radians."""
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return Outline(tuple(points @ turn for points in self.polygons), self.reach @ turn)


def draw_outline(form: Form, area: float, random: np.random.Generator) -> Outline:
    """A random cell of a form, of about ``area`` pixels, with the long axis along x; too small for arms, it is
    elongated.
    """
    if area < LEAST_AREA.get(form, 0):
        form = "spindle"
    return _FORMS[form](area, random)


def soma(area: float, random: np.random.Generator) -> Outline:
    """A round, slightly uneven cell body; neurites leave anywhere."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = np.ones_like(angles)
    for order, strength in ((2, 0.06), (3, 0.06), (4, 0.04), (5, 0.03)):
        radii += random.normal(0, strength) * np.cos(order * angles + random.uniform(0, 2 * np.pi))
    stretch = np.exp(abs(random.normal(0.0, 0.22)))
    points = np.stack([radii * np.cos(angles) * stretch, radii * np.sin(angles) / stretch], axis=1)
    points = _of_area(points, area)
    return Outline((points,), points[random.permutation(len(points))[:20]])


def rounded(area: float, random: np.random.Generator) -> Outline:
    """A cell detached from the dish, without neurites."""
    outline = soma(min(area, 350.0), random)
    return Outline(outline.polygons, np.zeros((0, 2)))


def corner(area: float, random: np.random.Generator) -> Outline:
    """A cell stretched between three to five corners, with concave sides; neurites leave at the corners."""
    count = int(random.integers(3, 6))
    angles = np.sort((np.arange(count) + random.uniform(-0.3, 0.3, count)) * 2 * np.pi / count)
    between = angles + np.diff(np.append(angles, angles[0] + 2 * np.pi)) / 2
    drawn_in = 0.28 + 0.13 * count
    radii = np.concatenate([random.uniform(0.95, 1.9, count), drawn_in * random.uniform(0.85, 1.15, count)])
    both = np.concatenate([angles, between])
    order = np.argsort(both)
    stretch = random.uniform(1.0, 1.5)
    points = (radii[:, None] * np.stack([np.cos(both) * stretch, np.sin(both) / stretch], axis=1))[order]
    points = _of_area(_cut_corners(points, 2), area)
    distance = np.hypot(*points.T)
    peaks = (distance > np.roll(distance, 1)) & (distance >= np.roll(distance, -1))
    return Outline((points,), points[peaks])


def spindle(area: float, random: np.random.Generator) -> Outline:
    """A long, slightly bent cell; neurites leave at both ends."""
    slender = random.uniform(2.0, 4.5) if area < 400 else random.uniform(4.0, 11.0)
    length = np.sqrt(area * slender / 0.7)
    along = np.linspace(0, 1, 16)
    power = random.uniform(0.6, 1.3)
    skew = along ** random.uniform(0.75, 1.33)
    half = np.maximum(np.sin(np.pi * skew), 0.0) ** power + 0.1
    half *= 1 + 0.12 * np.sin(along * random.uniform(6, 14) + random.uniform(0, 6))
    bend = random.normal(0, 0.06) * length * np.sin(np.pi * along)
    bend += random.normal(0, 0.03) * length * np.sin(2 * np.pi * along)
    x = (along - 0.5) * length
    points = np.concatenate([np.stack([x, bend + half], 1), np.stack([x, bend - half], 1)[::-1]])
    missing = area / (2 * half.mean() * length)
    points[:16, 1] = bend + half * missing
    points[16:, 1] = (bend - half * missing)[::-1]
    points = _cut_corners(points, 1)
    return Outline((points,), np.array([[x[0], bend[0]], [x[-1], bend[-1]]]))


def star(area: float, random: np.random.Generator) -> Outline:
    """A small body with three to seven arms that belong to the cell, some forked."""
    body = corner(area * random.uniform(0.25, 0.45), random)
    count = int(random.integers(3, 7))
    left = area - _area(body.polygons[0])
    shares = random.dirichlet(np.full(count, 2.0))
    angles = (np.arange(count) + random.uniform(-0.35, 0.35, count)) * 2 * np.pi / count
    arms, tips = [], []
    for share, angle in zip(shares, angles, strict=True):
        half = random.uniform(1.7, 3.0)
        length = float(np.clip(share * left / (1.7 * half), 4.0, 110.0))
        start = 0.5 * np.sqrt(area * 0.1) * np.array([np.cos(angle), np.sin(angle)])
        path = _path(start, angle, length, random)
        arms.append(_ribbon(path, np.linspace(1.6 * half, 0.75 * half, len(path))))
        tips.append(path[-1])
        if length > 25 and random.random() < 0.35:
            fork = _path(path[len(path) // 2], angle + random.choice([-0.7, 0.7]), length * 0.45, random)
            arms.append(_ribbon(fork, np.linspace(half, 0.7 * half, len(fork))))
    return Outline((*body.polygons, *arms), np.array(tips))


def sheet(area: float, random: np.random.Generator) -> Outline:
    """A large flat cell with a ragged border and one or two elongated ends."""
    outline = corner(area * 0.75, random)
    points = outline.polygons[0] * [1.5, 1 / 1.5]
    ragged = _cut_corners(points + random.normal(0, 0.8, points.shape), 1)
    angle = random.uniform(-0.4, 0.4)
    tail = _path(np.array([0.0, 0.0]), angle, np.sqrt(area) * random.uniform(1.0, 1.9), random)
    return Outline((ragged, _ribbon(tail, np.linspace(np.sqrt(area) * 0.16, 1.5, len(tail)))), outline.reach[:0])


def _path(start: Points, angle: float, length: float, random: np.random.Generator) -> Points:
    """``(P, 2)`` points of a gently bent path."""
    count = max(3, int(length / 5))
    angles = angle + np.cumsum(random.normal(0, 0.1, count)) + np.linspace(0, random.normal(0, 0.25), count)
    steps = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (length / count)
    return np.concatenate([start[None], start + np.cumsum(steps, axis=0)])


def _ribbon(path: Points, half: Points) -> Points:
    """The polygon around a path, ``half`` ``(P,)`` wide on either side."""
    along = np.gradient(path, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    return np.concatenate([path + across * half[:, None], (path - across * half[:, None])[::-1]])


def _cut_corners(points: Points, times: int) -> Points:
    """The closed polygon smoothed by cutting its corners (Chaikin 1974)."""
    for _ in range(times):
        following = np.concatenate([points[1:], points[:1]])
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], axis=1).reshape(-1, 2)
    return points


def _area(points: Points) -> float:
    return abs(float(cv2.contourArea(points.astype(np.float32))))


def _of_area(points: Points, area: float) -> Points:
    return np.asarray(points * np.sqrt(area / _area(points)))


_FORMS: dict[Form, Callable[[float, np.random.Generator], Outline]] = {
    "soma": soma,
    "round": rounded,
    "corner": corner,
    "spindle": spindle,
    "star": star,
    "sheet": sheet,
}
