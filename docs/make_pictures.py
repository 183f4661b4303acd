"""Draws the pictures of the README and the documentation, from synthetic images alone.

    .venv/bin/python docs/make_pictures.py [--model neurons]

``docs/pictures/overview.png`` has one row per kind of cell: the image, and the outlines that the model finds.
``docs/pictures/unetr.png`` is a synthetic image, the foreground and border of its truth, and the cells decoded from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image as Picture

import cytotome as ct
from cytotome.families import get_family
from cytotome.report.overlay import draw_overlay
from cytotome.types import Instances

PICTURES = Path(__file__).parent / "pictures"
CROP = (260, 352)
GAP = 6
WHITE = 255


def pair(image: ct.Image, cells: Instances) -> np.ndarray:
    """The image beside its overlay, ``(h, w, 3)`` uint8, the middle of each."""
    height, width = image.shape
    top, left = (height - CROP[0]) // 2, (width - CROP[1]) // 2
    window = np.s_[top : top + CROP[0], left : left + CROP[1]]
    none = cells.select([])
    gap = np.full((CROP[0], GAP, 3), WHITE, np.uint8)
    return np.concatenate([draw_overlay(image, none)[window], gap, draw_overlay(image, cells)[window]], axis=1)


def overview(model_name: str) -> np.ndarray:
    """One row per kind of synthetic cell."""
    model = ct.load_model(model_name)
    samples = ct.open_dataset("synthetic:3")
    rows: list[np.ndarray] = []
    for sample in samples:
        row = pair(sample.image, model.segment(sample.image))
        rows += [np.full((GAP, row.shape[1], 3), WHITE, np.uint8), row] if rows else [row]
    return np.concatenate(rows)


def unetr_targets() -> np.ndarray:
    """Image, foreground, border and decoded cells of a synthetic image, side by side."""
    sample = ct.open_dataset("synthetic:3")[2]
    family = get_family("unetr")
    config = family.config(class_names=sample.instances.class_names)
    maps = family.oracle(family.targets(sample.instances, config), config)
    cells = family.decode(maps, family.parameters(), config.class_names)
    grey = [np.repeat((255 * maps[name].max(axis=0)).astype(np.uint8)[:, :, None], 3, 2) for name in maps]
    parts = [draw_overlay(sample.image, cells.select([])), *grey, draw_overlay(sample.image, cells)]
    side = CROP[0] // 2
    gap = np.full((side, GAP, 3), WHITE, np.uint8)
    shown = [piece for part in parts for piece in (part[100 : 100 + side, 100 : 100 + side], gap)]
    return np.repeat(np.repeat(np.concatenate(shown[:-1], axis=1), 2, axis=0), 2, axis=1)


def main() -> None:
    """Writes all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="neurons", help="a bundled model's name or a model file")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    for name, picture in (("overview", overview(options.model)), ("unetr", unetr_targets())):
        path = PICTURES / f"{name}.png"
        Picture.fromarray(picture).save(path, optimize=True)
        print(path)


if __name__ == "__main__":
    main()
