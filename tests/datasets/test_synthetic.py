"""The generator: the same everywhere, exact masks, and the statistics of the real images."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time

import numpy as np
import pytest

from cytotome.datasets.summary import TypeSummary, summary
from cytotome.datasets.synthetic import KINDS, SyntheticDataset
from cytotome.errors import DataError
from cytotome.ops.runs import intersections
from cytotome.types import Sample

SMALL = (160, 200)

# Measured on the 506 annotated images of the challenge: medians of count and area, shares of pixels and cells.
REAL = {
    "cort": {"count": 30, "area": 208, "covered": 0.022, "overlapping": 0.26, "shared": 0.010, "grey": 14},
    "astro": {"count": 73, "area": 665, "covered": 0.194, "overlapping": 0.87, "shared": 0.026, "grey": 8},
    "shsy5y": {"count": 305, "area": 194, "covered": 0.185, "overlapping": 0.66, "shared": 0.036, "grey": 14},
}


def digest(sample: Sample) -> str:
    parts = (sample.image.pixels, sample.instances.runs, sample.instances.offsets, sample.instances.classes)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


@pytest.fixture(scope="module")
def kinds() -> dict[str, TypeSummary]:
    return {entry.cell_type: entry for entry in summary(SyntheticDataset(30, 5)).types}


def test_a_sample_depends_on_seed_and_index_alone() -> None:
    dataset = SyntheticDataset(6, 3, shape=SMALL)
    backwards = [digest(dataset[i]) for i in (5, 4, 3)][::-1]
    assert [digest(SyntheticDataset(9, 3, shape=SMALL)[i]) for i in (3, 4, 5)] == backwards
    assert digest(dataset[0]) != digest(SyntheticDataset(6, 4, shape=SMALL)[0])
    assert len({digest(sample) for sample in dataset}) == 6


def test_another_process_makes_the_same_samples() -> None:
    code = (
        "from cytotome.datasets.synthetic import SyntheticDataset\n"
        "import hashlib, numpy as np\n"
        "for s in SyntheticDataset(3, 8, shape=(160, 200)):\n"
        "    parts = (s.image.pixels, s.instances.runs, s.instances.offsets, s.instances.classes)\n"
        "    print(hashlib.sha256(b''.join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [digest(sample) for sample in SyntheticDataset(3, 8, shape=SMALL)]


@pytest.mark.parametrize("shape", [(32, 32), (97, 333), (520, 704)])
def test_masks_lie_in_the_image_and_hold_pixels(shape: tuple[int, int]) -> None:
    for sample in SyntheticDataset(3, 1, shape=shape):
        assert sample.image.pixels.shape == sample.instances.shape == shape
        assert sample.image.pixels.dtype == np.uint8
        assert sample.image.pixels.std() > 1
        assert (sample.instances.areas > 0).all()
        assert set(sample.instances.classes.tolist()) <= {sample.instances.class_names.index(sample.info.cell_type)}


def test_masks_are_where_the_cells_are() -> None:
    """The grey levels vary more inside the masks than outside: the image shows what the masks say."""
    for sample in SyntheticDataset(6, 2):
        inside = np.zeros(sample.image.shape, bool)
        for row, start, stop in sample.instances.runs:
            inside[row, start:stop] = True
        deviation = np.abs(sample.image.pixels.astype(float) - np.median(sample.image.pixels))
        assert deviation[inside].mean() > 1.5 * deviation[~inside].mean()


def test_some_masks_overlap_and_none_hides_another() -> None:
    instances = SyntheticDataset(3, 0)[2].instances
    first, second, shared = intersections(instances, instances)
    pairs = first < second
    assert np.count_nonzero(pairs) > 0.1 * len(instances)
    smaller = np.minimum(instances.areas[first], instances.areas[second])
    assert (shared[pairs] < 0.9 * smaller[pairs]).all()


def test_types_are_ordered_as_the_real_ones(kinds: dict[str, TypeSummary]) -> None:
    assert kinds["astro"].area[1] > 2 * max(kinds["cort"].area[1], kinds["shsy5y"].area[1])
    cort, astro, shsy5y = (kinds[name].cells_per_image[1] for name in ("cort", "astro", "shsy5y"))
    assert shsy5y > 2 * astro > 2 * cort
    assert kinds["cort"].overlapping_cells < kinds["shsy5y"].overlapping_cells < kinds["astro"].overlapping_cells


@pytest.mark.parametrize("name", KINDS)
def test_statistics_are_near_the_real_ones(kinds: dict[str, TypeSummary], name: str) -> None:
    entry, real = kinds[name], REAL[name]
    assert entry.area[1] == pytest.approx(real["area"], rel=0.2)
    assert entry.cells_per_image[1] == pytest.approx(real["count"], rel=0.4)
    assert entry.covered == pytest.approx(real["covered"], rel=0.5)
    assert entry.overlapping_cells == pytest.approx(real["overlapping"], abs=0.12)
    assert real["shared"] / 3 < entry.shared_pixels < 2 * real["shared"]


def test_grey_levels_are_near_the_real_ones() -> None:
    for sample in SyntheticDataset(6, 4):
        levels = sample.image.pixels
        assert np.median(levels) == pytest.approx(128, abs=3)
        assert 0.4 < levels.std() / REAL[sample.info.cell_type]["grey"] < 1.6


def test_the_constants_are_those_of_the_real_annotations(real_data) -> None:
    """Medians move by a few per cent with the images that are there."""
    from cytotome.datasets.coco import CocoDataset

    dataset = CocoDataset(real_data / "sartorius" / "annotations_without_images.json.gz")
    for name, real in REAL.items():
        instances = [dataset.instances(i) for i, info in enumerate(dataset.infos) if info.cell_type == name]
        assert np.median([len(part) for part in instances]) == pytest.approx(real["count"], rel=0.15)
        assert np.median(np.concatenate([part.areas for part in instances])) == pytest.approx(real["area"], rel=0.15)


def test_an_image_is_made_in_a_moment() -> None:
    dataset = SyntheticDataset(5, 0)
    dataset[2]
    start = time.process_time()
    dataset[2]
    dataset[1]
    dataset[0]
    assert time.process_time() - start < 3 * 1.0


def test_types_take_turns_and_so_do_folds() -> None:
    infos = SyntheticDataset(18).infos
    assert [info.cell_type for info in infos[:4]] == ["cort", "astro", "shsy5y", "cort"]
    assert [info.fold for info in infos] == [index // 3 % 5 for index in range(18)]
    assert len({info.id for info in infos}) == 18


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 1, "cell_types": ("glia",)}, "unknown cell type glia; choose from cort, astro, shsy5y"),
        ({"count": 1, "cell_types": ()}, "unknown cell type none"),
        ({"count": -1}, "count and seed must not be negative, got -1 and 0"),
        ({"count": 1, "shape": (16, 64)}, "must be 32 pixels or more on either side, got 16x64"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        SyntheticDataset(**arguments)
