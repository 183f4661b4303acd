"""Measurements against scikit-image, shapes known by hand, and on real masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import disk, ellipse
from skimage.measure import regionprops

from cytotome.datasets import open_dataset
from cytotome.errors import DataError
from cytotome.measurement.morphology import measure_cells
from cytotome.ops.runs import mask_crop
from cytotome.types import AnyArray, Image, Instances

SAME_AS_SKIMAGE = {
    "area": "area",
    "perimeter": "perimeter",
    "major_axis": "axis_major_length",
    "minor_axis": "axis_minor_length",
    "eccentricity": "eccentricity",
    "solidity": "solidity",
}


def assert_as_skimage(instances: Instances, grey: AnyArray) -> None:
    columns = measure_cells(instances, Image(grey))
    for index in range(len(instances)):
        mask, (y, x) = mask_crop(instances, index)
        crop = grey[y : y + mask.shape[0], x : x + mask.shape[1]]
        (props,) = regionprops(mask.astype(np.uint8), crop)
        for ours, theirs in SAME_AS_SKIMAGE.items():
            # the square root of a difference of nearly equal moments loses half of the digits
            assert columns[ours][index] == pytest.approx(props[theirs], rel=1e-7, abs=1e-5), (index, ours)
        assert columns["centroid_y"][index] == pytest.approx(props.centroid[0] + y)
        assert columns["centroid_x"][index] == pytest.approx(props.centroid[1] + x)
        if columns["eccentricity"][index] > 0.1:
            turn = (columns["orientation"][index] - props.orientation) % np.pi
            assert min(turn, np.pi - turn) < 1e-6
        values = crop[mask].astype(float)
        expected = (values.mean(), values.std(), values.min(), values.max())
        found = [columns[f"intensity_{name}"][index] for name in ("mean", "deviation", "lowest", "highest")]
        assert found == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 14), st.floats(0.05, 1.0))
def test_random_masks_of_any_parts_are_measured_as_by_skimage(seed: int, height: int, width: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    mask = generator.random((height, width)) < share
    mask[generator.integers(height), generator.integers(width)] = True
    grey = generator.integers(0, 2**16, (height, width)).astype(np.uint16)
    assert_as_skimage(Instances.from_masks([mask]), grey)


def test_real_overlapping_cells_are_measured_as_by_skimage(real_data: Path) -> None:
    dataset = open_dataset(real_data / "sartorius")
    index = next(k for k, info in enumerate(dataset.infos) if info.cell_type == "astro")
    sample = dataset[index]
    assert_as_skimage(sample.instances, sample.image.pixels)


def test_a_disc_is_round_and_its_diameter_is_known() -> None:
    labels = np.zeros((101, 101), np.uint8)
    labels[disk((50, 50), 40)] = 1
    columns = measure_cells(Instances.from_label_map(labels))
    assert columns["largest_diameter"][0] == pytest.approx(80, abs=1)
    assert columns["eccentricity"][0] == pytest.approx(0, abs=1e-6)
    assert columns["circularity"][0] == pytest.approx(1, abs=0.1)  # the estimator is long on a disc
    assert columns["solidity"][0] > 0.98


def test_an_ellipse_has_its_axes_and_its_orientation() -> None:
    labels = np.zeros((200, 200), np.uint8)
    labels[ellipse(100, 100, 30, 60, rotation=np.deg2rad(30))] = 1
    columns = measure_cells(Instances.from_label_map(labels))
    assert columns["major_axis"][0] == pytest.approx(120, rel=0.02)
    assert columns["minor_axis"][0] == pytest.approx(60, rel=0.02)
    assert columns["largest_diameter"][0] == pytest.approx(120, rel=0.02)


def test_one_pixel_is_measured() -> None:
    mask = np.zeros((5, 7), bool)
    mask[2, 3] = True
    columns = measure_cells(Instances.from_masks([mask]), Image(np.arange(35, dtype=np.uint8).reshape(5, 7)))
    expected = {"area": 1, "centroid_y": 2, "centroid_x": 3, "largest_diameter": 1, "solidity": 1}
    expected |= {"intensity_mean": 17, "intensity_deviation": 0}
    assert {name: columns[name][0] for name in expected} == expected


def test_a_shared_pixel_counts_for_each_of_its_cells() -> None:
    masks = np.zeros((2, 4, 6), bool)
    masks[0, :, :4] = True
    masks[1, :, 2:] = True
    assert measure_cells(Instances.from_masks(masks))["area"].tolist() == [16, 16]


def test_no_cell_gives_empty_columns() -> None:
    columns = measure_cells(Instances.empty((8, 8)), Image(np.eye(8, dtype=np.float32)))
    assert {values.shape for values in columns.values()} == {(0,)}


def test_grey_levels_of_colour_are_its_luminance() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[..., 1] = 100
    columns = measure_cells(Instances.from_masks(np.ones((1, 4, 4), bool)), Image(pixels))
    assert columns["intensity_mean"][0] == pytest.approx(0.587 * 100, abs=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_no_grey_level(channels: int) -> None:
    pixels = np.full((4, 4, channels + 1), 60, np.uint8)
    pixels[..., -1] = 255
    columns = measure_cells(Instances.from_masks(np.ones((1, 4, 4), bool)), Image(pixels))
    assert columns["intensity_mean"][0] == 60


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match=r"plate\.png: the image has shape \(5, 5\), the cells have shape \(8, 8\)"):
        measure_cells(Instances.empty((8, 8)), Image(np.zeros((5, 5), np.uint8), source="plate.png"))
