"""Draws ``docs/pictures/watershed.png``: all maps of the watershed family on synthetic images of each kind of cell.

    .venv/bin/python docs/make_watershed_pictures.py [MODEL]

One row per kind: the image, semantic classes, directions, energy, the cells found. The maps are those of a model, or
where none is given, the targets that it would learn from.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Picture

import cytotome as ct
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.families import get_family
from cytotome.report.maps import draw_map
from cytotome.report.overlay import draw_overlay
from cytotome.report.targets import draw_classes, draw_levels
from cytotome.types import DenseMaps, Instances, OutputSpec, Sample

PATH = Path(__file__).parent / "pictures" / "watershed.png"
CROP = (180, 220)
GAP = 4
UNSEEN = 1000
"""Seed of the images drawn, apart from those that a model is trained on."""


def true_maps(sample: Sample) -> tuple[tuple[OutputSpec, ...], DenseMaps, Instances]:
    """The maps of a network that makes no error, and the cells in them."""
    family = get_family("watershed")
    config = family.config()
    maps = family.oracle(family.targets(sample.instances, config), config)
    return family.outputs(config), maps, family.decode(maps, family.parameters(), config.class_names)


def predicted_maps(model: ct.Model, sample: Sample) -> tuple[tuple[OutputSpec, ...], DenseMaps, Instances]:
    """The maps of a model, and the cells in them."""
    maps = model.predict_maps(sample.image)
    return model.family.outputs(model.file.config), maps, model.decode(maps)


def row(image: ct.Image, specs: Sequence[OutputSpec], maps: DenseMaps, cells: Instances) -> np.ndarray:
    """``(h, w, 3)`` uint8, the part of the image and of each map that holds most of the cells."""
    direction = next(spec for spec in specs if spec.name == "direction")
    pictures = [
        draw_overlay(image, cells.select([])),
        draw_classes(maps["semantic"].argmax(axis=0)),
        draw_map(maps["direction"], direction),
        draw_levels(maps["energy"][0].round().astype(int)),
        draw_overlay(image, cells),
    ]
    inside = 1 - maps["semantic"][0]
    sums = cv2.boxFilter(inside, -1, CROP[::-1], anchor=(0, 0), normalize=False)[: -CROP[0], : -CROP[1]]
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    gap = np.full((CROP[0], GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture[top : top + CROP[0], left : left + CROP[1]], gap)]
    return np.concatenate(parts[:-1], axis=1)


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    name = parser.parse_args().model
    model = ct.load_model(name) if name else None
    rows: list[np.ndarray] = []
    for sample in SyntheticDataset(3, seed=UNSEEN):
        specs, maps, cells = true_maps(sample) if model is None else predicted_maps(model, sample)
        drawn = row(sample.image, specs, maps, cells)
        rows += [np.full((GAP, drawn.shape[1], 3), 255, np.uint8), drawn] if rows else [drawn]
    Picture.fromarray(np.concatenate(rows)).save(PATH, optimize=True)
    print(PATH)


if __name__ == "__main__":
    main()
