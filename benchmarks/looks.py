"""How often a picture of the wrong kind is told from the right ones, by the card of a bundled model.

    python benchmarks/looks.py DATA     (DATA holds sartorius/, livecell/, dsb2018/ and usiigaci/)

Each image is taken whole, at half its size and as a crop of 256 x 256 pixels from its middle, as it is and inverted.
Prints, for each model and kind of picture, the share of pictures that are warned of.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from cytotome.data.normalise import to_channels
from cytotome.datasets import open_dataset
from cytotome.models.header import read_header
from cytotome.models.registry import find_model
from cytotome.types import AnyArray

SETS = ("dsb2018/stage1_train", "dsb2018/stage1_test", "sartorius", "livecell", "usiigaci/train", "usiigaci/val")
SIDE = 256


def views(grey: AnyArray) -> Iterator[tuple[str, AnyArray]]:
    """An image whole, at half its size and as a crop."""
    yield "whole", grey
    yield "half size", cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    y, x = (max(0, (side - SIDE) // 2) for side in grey.shape)
    yield "crop", grey[y : y + SIDE, x : x + SIDE]


def main() -> None:
    """Prints the shares."""
    looks = {name: read_header(find_model(name)).card.look for name in ("nuclei", "neurons")}
    for name in SETS:
        dataset = open_dataset(Path(sys.argv[1]) / name)
        warned: dict[tuple[str, str, str], list[bool]] = {}
        for info in track(range(len(dataset)), name, transient=True):
            image = dataset[info].image
            grey = to_channels(image.pixels, 1)[:, :, 0]
            inverted = np.iinfo(grey.dtype).max - grey
            for kind, plane in (("", grey), ("inverted", inverted)):
                for view, pixels in views(plane):
                    picture = replace(image, pixels=np.ascontiguousarray(pixels))
                    for model, look in looks.items():
                        assert look is not None
                        warned.setdefault((model, kind, view), []).append(bool(look.note(picture)))
        for (model, kind, view), found in warned.items():
            print(f"{model:8} {name:22} {kind:9} {view:10} {len(found):4} pictures, {np.mean(found):.1%} warned of")


if __name__ == "__main__":
    main()
