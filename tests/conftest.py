"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from cytotome.io.coco import read_coco
from cytotome.ops.runs import mask_crop
from cytotome.types import AnyArray, Instances

REPOSITORY = Path(__file__).resolve().parents[1]
Pair = tuple[Instances, Instances]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real images, ``CYTOTOME_DATA`` or ``shared/data`` beside the repository; skips without it."""
    folder = Path(os.environ.get("CYTOTOME_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "sartorius" / "train.csv").is_file():
        pytest.skip(f"no real images at {folder}; set CYTOTOME_DATA to their folder")
    return folder


def _dense(instances: Instances) -> AnyArray:
    masks = np.zeros((len(instances), *instances.shape), bool)
    for index in range(len(instances)):
        for row, start, stop in instances.runs[instances.offsets[index] : instances.offsets[index + 1]]:
            masks[index, row, start:stop] = True
    return masks


def _one_row_per_mask(instances: Instances) -> csr_array:
    return csr_array(_dense(instances).reshape(len(instances), np.prod(instances.shape)), dtype=np.float64)


def _dense_iou(predictions: Instances, truth: Instances) -> AnyArray:
    first, second = (_one_row_per_mask(part) for part in (truth, predictions))
    shared = (first @ second.T).toarray()
    union = first.sum(axis=1)[:, None] + second.sum(axis=1)[None] - shared
    return shared / np.maximum(union, 1)


def _moved(truth: Instances, generator: np.random.Generator, reach: int) -> Instances:
    """Each mask moved by up to ``reach`` pixels, some left out and some twice, with random scores."""
    chosen = generator.permutation(np.repeat(np.arange(len(truth)), generator.integers(0, 3, len(truth))))
    crops = [mask_crop(truth, index) for index in chosen]
    origins = np.array([origin for _, origin in crops]).reshape(-1, 2)
    origins = origins + generator.integers(-reach, reach + 1, origins.shape)
    scores = generator.random(len(crops)).round(2)
    moved = Instances.from_masks(
        [mask for mask, _ in crops],
        shape=truth.shape,
        origins=origins,
        scores=scores,
        classes=truth.classes[chosen],
        class_names=truth.class_names,
    )
    return moved.select(moved.areas > 0)


@pytest.fixture(scope="session")
def dense() -> Callable[[Instances], AnyArray]:
    """From instances to ``(N, H, W)`` bool masks."""
    return _dense


@pytest.fixture(scope="session")
def dense_iou() -> Callable[[Instances, Instances], AnyArray]:
    """From predictions and truth to the ``(truths, predictions)`` IoU of the dense masks."""
    return _dense_iou


@pytest.fixture(scope="session")
def random_pair() -> Callable[[int], Pair]:
    """From a seed to predictions and truth: overlapping rectangles and moved, doubled and missing copies of them."""

    def make(seed: int) -> Pair:
        generator = np.random.default_rng(seed)
        masks = np.zeros((generator.integers(0, 16), 48, 56), bool)
        for mask in masks:
            y, x, height, width = generator.integers(0, 40, 2).tolist() + generator.integers(3, 18, 2).tolist()
            mask[y : y + height, x : x + width] = True
        truth = Instances.from_masks(masks, shape=(48, 56))
        return _moved(truth, generator, 2), truth

    return make


@pytest.fixture(scope="session")
def real_pairs(real_data: Path) -> dict[str, Pair]:
    """By image, moved copies of the real masks and these; three images of each cell type, up to 160 cells each."""
    file = read_coco(real_data / "sartorius" / "annotations_without_images.json.gz")
    generator = np.random.default_rng(0)
    chosen: dict[str, list[Pair]] = {name: [] for name in file.class_names}
    pairs: dict[str, Pair] = {}
    for image in file.images:
        truth = file.instances(image.id)
        members = chosen[file.class_names[truth.classes[0]]]
        if len(truth) <= 160 and len(members) < 3:
            members.append((_moved(truth, generator, 2), truth))
            pairs[str(image.id)] = members[-1]
    return pairs
