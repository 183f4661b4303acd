"""The size at which images are shown to a model."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from cytotome.errors import ConfigError
from cytotome.inference.scale import (
    CellScale,
    estimate_scale,
    resized_image,
    resized_instances,
    size_note,
)
from cytotome.models.cell_size import CellSize, CellSizes, diameter
from cytotome.ops.labels import to_layers
from cytotome.types import AnyArray, Image, Instances

SIZES = CellSizes(types={"a": CellSize(diameter=16, least=12, greatest=24)}, microns_per_pixel=1.0)


def drawn(side: int, shape: tuple[int, int] = (400, 480), step: float = 1.6) -> tuple[Image, AnyArray]:
    """A grid of discs of a diameter, as grey levels and as labels."""
    labels = np.zeros(shape, np.int32)
    number = 0
    for y in np.arange(step * side / 2, shape[0] - side / 2, step * side):
        for x in np.arange(step * side / 2, shape[1] - side / 2, step * side):
            number += 1
            cv2.circle(labels, (round(x), round(y)), side // 2, number, -1)
    return Image((labels > 0).astype(np.uint8) * 200), labels


def find(image: Image) -> Instances:
    """Parts of the image that are bright, as a network of one size finds them.

    What is larger than 30 pixels is cut into squares of 14; what is smaller than 9 is not seen.
    """
    _, labels = cv2.connectedComponents((image.pixels > 100).astype(np.uint8))
    cells = Instances.from_label_map(labels)
    sides = cells.boxes[:, 2] - cells.boxes[:, 0]
    large = np.isin(labels, cells.ids[sides > 30])
    rows, columns = np.indices(labels.shape) // 14
    labels = np.where(large, 100_000 + rows * 1000 + columns, labels)
    cells = Instances.from_label_map(labels.astype(np.int32))
    return cells.select(cells.areas > 40)


@pytest.mark.parametrize("side", [16, 20, 24])
def test_cells_of_a_known_size_keep_the_image_as_it_is(side: int) -> None:
    image, _ = drawn(side)
    assert estimate_scale(find(image), image, SIZES, find) == 1


@pytest.mark.parametrize("side", [60, 80])
def test_cells_in_pieces_are_found_at_a_reduced_size(side: int) -> None:
    image, labels = drawn(side)
    pieces = find(image)
    assert diameter(pieces.areas) < 24  # nothing in one pass alone tells that these are pieces
    scale = estimate_scale(pieces, image, SIZES, find)
    assert scale == pytest.approx(16 / side, rel=0.1)
    assert len(find(resized_image(image, scale))) == labels.max()


def test_cells_at_the_lower_end_are_found_in_the_enlarged_image() -> None:
    image, labels = drawn(9)
    few = find(image)
    few = few.select(np.arange(len(few) // 2))  # half of them are lost
    scale = estimate_scale(few, image, SIZES, find)
    assert scale == pytest.approx(16 / 9, rel=0.15)
    assert len(find(resized_image(image, scale))) == labels.max()


def test_an_empty_image_is_left_alone() -> None:
    image = Image(np.zeros((64, 64), np.uint8))

    def never(image: Image) -> Instances:
        raise AssertionError("nothing is to be looked for")

    assert estimate_scale(find(image), image, SIZES, never) == 1


@pytest.mark.parametrize(
    ("size", "microns", "factor"),
    [
        (CellScale(scale=0.3), 0.5, 0.3),
        (CellScale(diameter=64), 0.5, 0.25),
        (CellScale(diameter=20), None, 1),
        (CellScale(), 0.5, 0.5),
        (CellScale(), 1.1, 1),
        (CellScale(), None, None),
    ],
)
def test_what_is_known_of_the_size(size: CellScale, microns: float | None, factor: float | None) -> None:
    image = Image(np.zeros((8, 8), np.uint8), microns)
    assert size.known(image, SIZES) == factor


def test_a_model_that_states_no_size_takes_a_scale_alone() -> None:
    image = Image(np.zeros((8, 8), np.uint8), 0.5)
    assert CellScale().known(image, None) == 1
    assert CellScale(scale=2).known(image, None) == 2
    with pytest.raises(ConfigError, match="diameter: the model's card states no cell size"):
        CellScale(diameter=30).known(image, None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": 1, "diameter": 30}, "give only one of them"),
        ({"scale": 0}, "scale: expected a factor from 0.03125 to 32, got 0"),
        ({"scale": float("nan")}, "scale: expected"),
        ({"diameter": -3}, "diameter: expected a positive number of pixels, got -3"),
    ],
)
def test_faults_of_the_size(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CellScale(**values)


@pytest.mark.parametrize("scale", [0.4, 2.5])
def test_cells_come_back_to_the_size_of_their_image(scale: float) -> None:
    image, labels = drawn(40)
    truth = Instances.from_label_map(labels)
    small = resized_instances(truth, resized_image(image, scale).shape)
    back = resized_instances(small, image.shape)
    assert back.ids.tolist() == truth.ids.tolist()
    np.testing.assert_allclose(back.areas, truth.areas, rtol=0.05)
    assert len(to_layers(back)) == 1  # neighbours do not come to overlap


def test_neighbours_share_no_pixel_after_resizing_and_overlaps_stay() -> None:
    halves = np.zeros((31, 31), np.int32)
    halves[:, :13], halves[:, 13:] = 1, 2
    assert len(to_layers(resized_instances(Instances.from_label_map(halves), (77, 77)))) == 1
    masks = np.zeros((2, 30, 30), bool)
    masks[0, 5:20, 5:20] = masks[1, 10:25, 10:25] = True
    large = resized_instances(Instances.from_masks(masks), (60, 60))
    assert large.areas.tolist() == [900, 900]
    assert len(to_layers(large)) == 2


def test_a_resized_image_knows_its_pixels() -> None:
    image = Image(np.zeros((10, 20, 3), np.uint16), 0.5, "a")
    half = resized_image(image, 0.5)
    assert (half.pixels.shape, half.pixels.dtype, half.microns_per_pixel, half.source) == (
        (5, 10, 3),
        np.uint16,
        1.0,
        "a",
    )
    assert resized_image(image, 1) is image


def test_the_note_says_what_to_pass() -> None:
    image, labels = drawn(60)
    cells = Instances.from_label_map(labels)
    note = size_note(image, cells, SIZES, CellScale())
    assert "than the model knows (12 to 24 pixels)" in note
    assert "--diameter" in note
    assert size_note(image, cells, SIZES, CellScale(diameter=60)) == ""
    assert "pass another --diameter" in size_note(image, cells, SIZES, CellScale(scale=1))
    assert size_note(replace(image, microns_per_pixel=0.25), cells, SIZES, CellScale()) == ""
    assert size_note(image, cells, None, CellScale()) == ""
