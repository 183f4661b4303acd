"""A layout: images in a folder, and ``circles.csv`` with the columns image, y, x and radius, one row per cell."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

import cytotome as ct
from cytotome.datasets import Layout

TABLE = "circles.csv"


class CirclesDataset(ct.Dataset):
    """Images whose cells are circles; reads the table at once, images on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        self.circles: dict[str, list[tuple[float, float, float]]] = {}
        with open(folder / TABLE, encoding="utf-8", newline="") as table:
            for row in csv.DictReader(table):
                circle = float(row["y"]), float(row["x"]), float(row["radius"])
                self.circles.setdefault(row["image"], []).append(circle)
        self.images = sorted(self.circles)
        self.infos = tuple(ct.SampleInfo(Path(name).stem) for name in self.images)

    def read(self, index: int) -> ct.Sample:
        """One image with its circles as masks, which may overlap."""
        name = self.images[index]
        image = ct.read_image(self.folder / name)
        rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
        masks = [(rows - y) ** 2 + (columns - x) ** 2 <= radius**2 for y, x, radius in self.circles[name]]
        return ct.Sample(
            self.infos[index], image, ct.from_masks(masks, shape=image.shape, class_names=self.class_names)
        )


LAYOUT = Layout(open=CirclesDataset, fits=lambda path: (path / TABLE).is_file())
