"""Draws the maps of families on synthetic images of each kind of cell, one row per kind.

    .venv/bin/python scripts/make_map_pictures.py watershed [MODEL]
    .venv/bin/python scripts/make_map_pictures.py embedding MODEL [MODEL ...]

``docs/pictures/watershed.png``: image, semantic classes, directions, energy and cells, of a model or, by
default, of the training targets. ``docs/pictures/embedding.png``: image, embeddings of each model by
their principal components, and the cells that the first one finds.
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
from cytotome.report.maps import draw_map, fit_colours
from cytotome.report.overlay import draw_overlay
from cytotome.report.targets import draw_classes, draw_levels
from cytotome.types import DenseMaps, Instances, OutputSpec, Sample

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
CROP = (180, 220)
GAP = 4
UNSEEN = 1000
"""Seed of the images drawn, apart from those that a model is trained on."""


def specs_of(model: ct.Model) -> dict[str, OutputSpec]:
    """The maps of a model by name."""
    return {spec.name: spec for spec in model.maps}


def watershed_pictures(sample: Sample, model: ct.Model | None) -> list[np.ndarray]:
    """All maps of one image, of a model or, where there is none, of a network that makes no error."""
    if model is None:
        family = get_family("watershed")
        config = family.config()
        specs = {spec.name: spec for spec in family.outputs(config).specs}
        maps = family.oracle(family.targets(sample.instances, config), config)
        cells = family.decode(maps, family.parameters(), config.class_names)
    else:
        specs, maps = specs_of(model), model.predict_maps(sample.image)
        cells = model.decode(maps)
    return [
        draw_overlay(sample.image, cells.select([])),
        draw_classes(maps["semantic"].argmax(axis=0)),
        draw_map(maps["direction"], specs["direction"]),
        draw_levels(maps["energy"][0].round().astype(int)),
        draw_overlay(sample.image, cells),
    ]


def embedding_pictures(sample: Sample, models: Sequence[ct.Model], maps: Sequence[DenseMaps]) -> list[np.ndarray]:
    """Image, embeddings of each model, bright where it sees cells, in its own colours, and the first model's cells."""
    cells = models[0].decode(maps[0])
    drawn = [draw_overlay(sample.image, cells.select([]))]
    for model, one in zip(models, maps, strict=True):
        colours = fit_colours([one["embedding"]], [one["cell"][0]])
        picture = draw_map(one["embedding"], specs_of(model)["embedding"], colours)
        drawn.append(np.where(one["cell"][0][:, :, None] > 0.5, picture, picture // 4))
    return [*drawn, draw_overlay(sample.image, cells)]


def row(pictures: Sequence[np.ndarray], truth: Instances) -> np.ndarray:
    """``(h, w, 3)`` uint8, the part of each picture that holds most of the cells, side by side."""
    inside = (truth.to_label_map() > 0).astype(np.float32)
    sums = cv2.boxFilter(inside, -1, CROP[::-1], anchor=(0, 0), normalize=False)[: -CROP[0], : -CROP[1]]
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    gap = np.full((CROP[0], GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture[top : top + CROP[0], left : left + CROP[1]], gap)]
    return np.concatenate(parts[:-1], axis=1)


def main() -> None:
    """Writes the picture of a family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=("watershed", "embedding"))
    parser.add_argument("models", nargs="*")
    options = parser.parse_args()
    models = [ct.load_model(name) for name in options.models]
    rows: list[np.ndarray] = []
    for sample in SyntheticDataset(3, seed=UNSEEN):
        if options.family == "watershed":
            pictures = watershed_pictures(sample, models[0] if models else None)
        else:
            pictures = embedding_pictures(sample, models, [model.predict_maps(sample.image) for model in models])
        drawn = row(pictures, sample.instances)
        rows += [np.full((GAP, drawn.shape[1], 3), 255, np.uint8), drawn] if rows else [drawn]
    path = PICTURES / f"{options.family}.png"
    Picture.fromarray(np.concatenate(rows)).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
