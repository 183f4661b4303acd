"""Parameters of the three cell types, measured on 506 annotated images of the Sartorius challenge.

Counts and areas are log-normal, given as the median and the standard deviation of the logarithm, for an image of
520x704 pixels. The other values were chosen by visual comparison with real images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

REFERENCE_PIXELS = 520 * 704
Form = Literal["soma", "corner", "spindle", "star", "sheet", "round"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One cell type. Lengths in pixels, heights in radians of optical phase.

    Attributes:
        name: name of the cell type.
        count: median and log spread of the number of cells in an image.
        count_limits: minimum and maximum number of cells.
        area: median and log spread of the pixels per cell.
        forms: relative frequency of each form of cell.
        height: range of a cell's height.
        rim: range of the distance from the border over which a cell rises to its height.
        granularity: granularity of the inside, relative to the height.
        contact: fraction of cells that are in contact with another one.
        overlap: mean fraction of a cell that may overlap others.
        connected: fraction of neurites that lead to a nearby cell.
        neurites: range of the number of neurites per cell.
        neurite_length: mean length.
        neurite_width: half width at the cell.
        neurite_height: height at the cell.
        strays: neurites of cells outside the image, per whole image.
        debris: range of the number of beads per whole image.
        clumps: range of the number of clumps of dead cells per whole image.
    """

    name: str
    count: tuple[float, float]
    count_limits: tuple[int, int]
    area: tuple[float, float]
    forms: tuple[tuple[Form, float], ...]
    height: tuple[float, float]
    rim: tuple[float, float]
    granularity: float
    contact: float
    overlap: float
    connected: float
    neurites: tuple[int, int]
    neurite_length: float
    neurite_width: float
    neurite_height: float
    strays: tuple[int, int]
    debris: tuple[int, int]
    clumps: tuple[int, int]


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="cort",
            count=(30.0, 0.42),
            count_limits=(6, 100),
            area=(192.0, 0.48),
            forms=(("soma", 0.92), ("spindle", 0.08)),
            height=(0.45, 0.8),
            rim=(1.5, 3.0),
            granularity=0.32,
            contact=0.2,
            overlap=0.09,
            connected=0.25,
            neurites=(6, 18),
            neurite_length=60.0,
            neurite_width=0.6,
            neurite_height=0.3,
            strays=(6, 50),
            debris=(70, 200),
            clumps=(0, 4),
        ),
        Kind(
            name="astro",
            count=(72.0, 0.5),
            count_limits=(8, 180),
            area=(700.0, 0.74),
            forms=(("star", 0.44), ("spindle", 0.24), ("sheet", 0.26), ("round", 0.06)),
            height=(0.12, 0.42),
            rim=(1.5, 3.5),
            granularity=0.22,
            contact=0.85,
            overlap=0.03,
            connected=0.0,
            neurites=(0, 2),
            neurite_length=25.0,
            neurite_width=0.6,
            neurite_height=0.2,
            strays=(0, 8),
            debris=(10, 45),
            clumps=(0, 2),
        ),
        Kind(
            name="shsy5y",
            count=(305.0, 0.52),
            count_limits=(40, 620),
            area=(178.0, 0.54),
            forms=(("corner", 0.5), ("spindle", 0.4), ("soma", 0.1)),
            height=(0.18, 0.38),
            rim=(1.2, 2.5),
            granularity=0.2,
            contact=0.5,
            overlap=0.065,
            connected=0.7,
            neurites=(1, 3),
            neurite_length=34.0,
            neurite_width=0.75,
            neurite_height=0.2,
            strays=(4, 20),
            debris=(10, 60),
            clumps=(6, 26),
        ),
    )
}
