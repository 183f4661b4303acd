"""Measures the shift between cells, as found by a model, and their annotated masks.

    python benchmarks/alignment.py DATA [DATA ...] --model neurons [--model-fold 0]

A network that is trained on flipped and rotated crops cannot learn a shift of the masks in one direction; on average,
its cells are where they are visible. The difference of the centres is computed for each pair of a found and a true cell
with an IoU above 0.5. The median over the cells of each image, then over the images of each type, is printed, in pixels
down and right, with the minimum and maximum of the images' median ratios of found to true area, which show how much
annotators' outlines differ. This is the ``offset`` of the recipes: measured with a model without offset (otherwise that
of the model is added), on images that it was trained on (--model-fold leaves out those of that fold).
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from rich.progress import track
from scipy import ndimage

from cytotome.datasets import open_dataset, splits
from cytotome.inference.model import Model, load_single_model
from cytotome.types import Dataset, Instances, Sample


def centres(cells: Instances) -> Any:
    """``(N, 2)`` centroids y, x of the instances of a label map without overlaps."""
    labels = cells.to_label_map()
    return np.array(ndimage.center_of_mass(labels > 0, labels, cells.ids)).reshape(-1, 2)


def offset_of(model: Model, sample: Sample) -> Any:
    """Medians over matched cells: found minus true centre, down and right, and ratio of found to true area.

    None if nothing was found.
    """
    assert sample.instances is not None
    found, truth = (
        Instances.from_label_map(one.to_label_map()) for one in (model.segment(sample.image), sample.instances)
    )
    overlaps = found.overlaps(truth)
    good = overlaps.iou > 0.5
    if not good.any():
        return None
    places = overlaps.prediction[good], overlaps.truth[good]
    shift = centres(found)[places[0]] - centres(truth)[places[1]] + model.file.config.offset  # which it took away
    ratio = found.areas[places[0]] / truth.areas[places[1]]
    return np.median(np.column_stack([shift, ratio]), axis=0)


def offsets(model: Model, dataset: Dataset, fold: int | None) -> dict[str, Any]:
    """Offsets of the images of each cell type; if a fold is given, of the training images."""
    chosen = range(len(dataset)) if fold is None else splits(dataset, fold)[0]
    kinds: dict[str, list[Any]] = {}
    for index in track(chosen, f"{dataset.name}", transient=True):
        sample = dataset[index]
        if sample.instances is not None and len(sample.instances):
            found = offset_of(model, sample)
            if found is not None:
                kinds.setdefault(sample.info.cell_type, []).append(found)
    return kinds


def main() -> None:
    """Prints a row for each cell type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--model-fold", type=int)
    options = parser.parse_args()
    model = load_single_model(options.model)
    for name in options.data:
        dataset = open_dataset(name)
        for kind, values in sorted(offsets(model, dataset, options.model_fold).items()):
            table = np.array(values)
            (down, right, _), positive = np.median(table, axis=0), np.mean(table > 0, axis=0)
            least, most = table[:, 2].min(), table[:, 2].max()
            print(
                f"{dataset.name} {kind}: {down:+.2f} down, {right:+.2f} right over {len(values)} images; "
                f"positive in {positive[0]:.0%} and {positive[1]:.0%}; areas {least:.2f} to {most:.2f}"
            )


if __name__ == "__main__":
    main()
