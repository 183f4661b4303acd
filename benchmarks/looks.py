"""Counts how often a bundled model recognises an image of the wrong kind.

    python benchmarks/looks.py DATA [--every N] [--models NAME ...]

DATA holds sartorius/, livecell/, dsb2018/ and usiigaci/. Each image is used complete, at half its size and as a crop of
256 x 256 pixels from its centre, both unchanged and inverted. Prints, for each model and kind of image, the share of
images with a note on the background and, for complete images, the share with any note, for which the model segments the
image.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from cytotome.data.normalise import to_channels
from cytotome.datasets import open_dataset
from cytotome.ensemble.load import load_model
from cytotome.types import AnyArray

SETS = ("dsb2018/stage1_train", "dsb2018/stage1_test", "sartorius", "livecell", "usiigaci/train", "usiigaci/val")
SIDE = 256


def views(grey: AnyArray) -> Iterator[tuple[str, AnyArray]]:
    """Returns an image complete, at half its size and as a crop."""
    yield "whole", grey
    yield "half size", cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    y, x = (max(0, (side - SIDE) // 2) for side in grey.shape)
    yield "crop", grey[y : y + SIDE, x : x + SIDE]


def main() -> None:
    """Prints the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=1, help="Take one image of so many.")
    parser.add_argument(
        "--models", nargs="+", default=["nuclei", "neurons"], metavar="NAME", help="Models or ensembles."
    )
    options = parser.parse_args()
    logging.getLogger("cytotome").setLevel(logging.ERROR)  # the notes are counted here
    models = {name: load_model(name) for name in options.models}
    for name in SETS:
        dataset = open_dataset(options.data / name)
        noted: dict[tuple[str, str, str], list[bool]] = {}
        for place in track(range(0, len(dataset), options.every), name, transient=True):
            image = dataset[place].image
            grey = to_channels(image.pixels, 1)[:, :, 0]
            for kind, plane in (("", grey), ("inverted", np.iinfo(grey.dtype).max - grey)):
                for view, pixels in views(plane):
                    picture = replace(image, pixels=np.ascontiguousarray(pixels))
                    for model, net in models.items():
                        assert net.look is not None
                        noted.setdefault((model, kind, view), []).append(bool(net.look.note(picture)))
                        if view == "whole":
                            cells = net.segment(picture, scale=1)
                            noted.setdefault((model, kind, "with cells"), []).append(bool(net.note(picture, cells)))
        for (model, kind, view), found in noted.items():
            print(f"{model:16} {name:22} {kind:9} {view:10} {len(found):4} images, {np.mean(found):.1%} with a note")


if __name__ == "__main__":
    main()
