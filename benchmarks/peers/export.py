"""Writes a dataset as one npz file per image for the peers' scripts. Runs in cytotome's own environment.

    .venv/bin/python benchmarks/peers/export.py DATASET OUT

Each ``OUT/<id>.npz`` contains ``image`` ``(H, W)`` or ``(H, W, C)``, ``labels`` ``(H, W)`` int32 (smaller cells on top
where masks overlap), ``areas`` ``(N,)`` int64 of the masks with overlaps, ``cell_type``, ``fold`` (-1 for
images that are only trained on) and ``mask_quality``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import cytotome as ct


def main() -> None:
    """Exports all labelled samples of one dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    count = 0
    for sample in ct.open_dataset(options.dataset):
        if sample.instances is None:
            continue
        np.savez_compressed(
            options.out / f"{sample.info.id}.npz",
            image=sample.image.pixels,
            labels=sample.instances.to_label_map(),
            areas=sample.instances.areas,
            cell_type=sample.info.cell_type,
            fold=-1 if sample.info.fold is None else sample.info.fold,
            mask_quality=sample.info.mask_quality,
        )
        count += 1
    print(f"{count} images in {options.out}")


if __name__ == "__main__":
    main()
