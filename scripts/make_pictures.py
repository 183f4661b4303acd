"""Draws the pictures of the README and the documentation, from the images of examples/ and synthetic ones.

    .venv/bin/python scripts/make_pictures.py [NAME ...]

In ``docs/pictures``, all of them or the given ones:

- ``overview.png`` has one row per kind of image: the image, and the outlines that a bundled model finds.
- ``unetr.png`` is a synthetic image, the foreground and border of its truth, and the cells decoded from it.
- ``gallery-nuclei.jpg``: the nuclei of ``examples/`` with the outlines that ``nuclei`` finds.
- ``gallery-glioblastoma.jpg``: the same cells by each bundled model for phase contrast.
- ``gallery-synthetic.jpg``: each kind of synthetic cell, and what ``neurons`` finds.
- ``gallery-flow.jpg``: an image, the outputs of the network of ``neurons``, and the cells that are decoded from them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Picture

import cytotome as ct
from cytotome.families import get_family
from cytotome.report.maps import draw_map
from cytotome.report.overlay import draw_overlay
from cytotome.types import Instances

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
EXAMPLES = Path(__file__).parents[1] / "examples"
CROP = (260, 352)
GAP = 6
WHITE = 255


def beside(pictures: Sequence[np.ndarray], axis: int = 1) -> np.ndarray:
    """``(h, w, 3)`` uint8: pictures with a white gap between them, side by side or, along axis 0, in a column."""
    shape = list(pictures[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, WHITE, np.uint8)
    return np.concatenate([part for picture in pictures for part in (gap, picture)][1:], axis=axis)


def pair(image: ct.Image, cells: Instances, corner: tuple[int, int]) -> np.ndarray:
    """A window of the image beside that of its overlay, ``(h, w, 3)`` uint8; ``corner`` is its top left y, x."""
    top, left = corner
    window = np.s_[top : top + CROP[0], left : left + CROP[1]]
    return beside([plain(image)[window], draw_overlay(image, cells)[window]])


def plain(image: ct.Image) -> np.ndarray:
    """The image as overlays show it, without outlines."""
    return draw_overlay(image, Instances.empty(image.shape))


def overview() -> np.ndarray:
    """One row per kind of image: glioblastoma cells and nuclei of examples/, and synthetic neurons."""
    cells, nuclei = ct.load_model("neurons"), ct.load_model("nuclei")
    shown = [
        (cells, ct.read_image(EXAMPLES / "glioblastoma" / "images" / "set46.png"), (110, 144)),
        (nuclei, ct.read_image(EXAMPLES / "nuclei" / "images" / "8b59819fbc92eefe.png"), (0, 0)),
        (cells, ct.open_dataset("synthetic:3")[2].image, (130, 176)),
    ]
    return beside([pair(image, model.segment(image), corner) for model, image, corner in shown], axis=0)


def unetr_targets() -> np.ndarray:
    """Image, foreground, border and decoded cells of a synthetic image, side by side."""
    sample = ct.open_dataset("synthetic:3")[2]
    family = get_family("unetr")
    config = family.config(class_names=sample.instances.class_names)
    maps = family.oracle(family.targets(sample.instances, config), config)
    cells = family.decode(maps, family.parameters(), config.class_names)
    grey = [np.repeat((255 * maps[name].max(axis=0)).astype(np.uint8)[:, :, None], 3, 2) for name in maps]
    parts = [plain(sample.image), *grey, draw_overlay(sample.image, cells)]
    side = CROP[0] // 2
    shown = beside([part[100 : 100 + side, 100 : 100 + side] for part in parts])
    return np.repeat(np.repeat(shown, 2, axis=0), 2, axis=1)


def gallery_nuclei() -> np.ndarray:
    """Each image of nuclei and its cells: a window of the large one, the two small ones below, whole."""
    model = ct.load_model("nuclei")
    folder = EXAMPLES / "nuclei" / "images"
    large, *small = (
        ct.read_image(path) for path in sorted(folder.glob("*.png"), key=lambda path: -path.stat().st_size)
    )
    below = [picture for image in small for picture in (plain(image), draw_overlay(image, model.segment(image)))]
    second = beside(below)
    top, left = 130, 0
    width = (second.shape[1] - GAP) // 2
    window = np.s_[top : top + 320, left : left + width]
    return beside([beside([plain(large)[window], draw_overlay(large, model.segment(large))[window]]), second], axis=0)


def gallery_glioblastoma() -> np.ndarray:
    """Image, known masks and what each model finds, in the same window."""
    image = ct.read_image(EXAMPLES / "glioblastoma" / "images" / "set46.png")
    truth = ct.open_dataset(EXAMPLES / "glioblastoma")[0].instances
    found = [ct.load_model(name).segment(image) for name in ("neurons", "neurons-rcnn", "neurons-ensemble")]
    window = np.s_[110 : 110 + CROP[0], 144 : 144 + CROP[1]]
    first, *others = [draw_overlay(image, cells)[window] for cells in (truth, *found)]
    return beside([beside([first, others[0]]), beside(others[1:])], axis=0)


def gallery_synthetic() -> np.ndarray:
    """One row per kind of cell."""
    model = ct.load_model("neurons")
    samples = list(ct.open_dataset("synthetic:3"))
    return beside([pair(one.image, model.segment(one.image), (130, 176)) for one in samples], axis=0)


def gallery_flow() -> np.ndarray:
    """Image, each output of the network, and cells."""
    model = ct.load_model("neurons")
    image = ct.read_image(EXAMPLES / "glioblastoma" / "images" / "set46.png")
    maps = model.predict_maps(image)
    drawn = [draw_map(maps[spec.name], spec) for spec in model.maps if spec.name in ("flow", "cell")]
    window = np.s_[200 : 200 + CROP[0] * 2 // 3, 200 : 200 + CROP[1] * 2 // 3]
    return beside([part[window] for part in (plain(image), *drawn, draw_overlay(image, model.decode(maps)))])


PICTURE_OF: dict[str, Callable[[], np.ndarray]] = {
    "overview.png": overview,
    "unetr.png": unetr_targets,
    "gallery-nuclei.jpg": gallery_nuclei,
    "gallery-glioblastoma.jpg": gallery_glioblastoma,
    "gallery-synthetic.jpg": gallery_synthetic,
    "gallery-flow.jpg": gallery_flow,
}


def main() -> None:
    """Writes the pictures."""
    for name in sys.argv[1:] or PICTURE_OF:
        path = PICTURES / name
        Picture.fromarray(PICTURE_OF[name]()).save(path, optimize=True, quality=82, subsampling=0)
        print(path)


if __name__ == "__main__":
    main()
