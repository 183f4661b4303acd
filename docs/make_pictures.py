"""Draws the pictures of the README and the documentation, from synthetic images alone.

    .venv/bin/python docs/make_pictures.py [--model neurons]

``docs/pictures/overview.png`` has one row per kind of cell: the image, and the outlines that the model finds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image as Picture

import cytotome as ct
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


def main() -> None:
    """Writes all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="neurons", help="a bundled model's name or a model file")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / "overview.png"
    Picture.fromarray(overview(options.model)).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
