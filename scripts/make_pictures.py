"""Draws the pictures of the README and the documentation, from the images of examples/ and synthetic ones.

    .venv/bin/python scripts/make_pictures.py

``docs/pictures/overview.png`` has one row per kind of image: the image, and the outlines that a bundled model finds.
``docs/pictures/unetr.png`` is a synthetic image, the foreground and border of its truth, and the cells decoded from it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

import cytotome as ct
from cytotome.families import get_family
from cytotome.report.overlay import draw_overlay
from cytotome.types import Instances

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
EXAMPLES = Path(__file__).parents[1] / "examples"
CROP = (260, 352)
GAP = 6
WHITE = 255


def pair(image: ct.Image, cells: Instances, corner: tuple[int, int]) -> np.ndarray:
    """A window of the image beside that of its overlay, ``(h, w, 3)`` uint8; ``corner`` is its top left y, x."""
    top, left = corner
    window = np.s_[top : top + CROP[0], left : left + CROP[1]]
    none = cells.select([])
    gap = np.full((CROP[0], GAP, 3), WHITE, np.uint8)
    return np.concatenate([draw_overlay(image, none)[window], gap, draw_overlay(image, cells)[window]], axis=1)


def overview() -> np.ndarray:
    """One row per kind of image: glioblastoma cells and nuclei of examples/, and synthetic neurons."""
    cells, nuclei = ct.load_model("neurons"), ct.load_model("nuclei")
    shown = [
        (cells, ct.read_image(EXAMPLES / "glioblastoma" / "images" / "set46.png"), (110, 144)),
        (nuclei, ct.read_image(EXAMPLES / "nuclei" / "images" / "8b59819fbc92eefe.png"), (0, 0)),
        (cells, ct.open_dataset("synthetic:3")[2].image, (130, 176)),
    ]
    rows: list[np.ndarray] = []
    for model, image, corner in shown:
        row = pair(image, model.segment(image), corner)
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
    """Writes both pictures."""
    for name, picture in (("overview", overview()), ("unetr", unetr_targets())):
        path = PICTURES / f"{name}.png"
        Picture.fromarray(picture).save(path, optimize=True)
        print(path)


if __name__ == "__main__":
    main()
