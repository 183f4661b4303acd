"""Overlays: which pixels are coloured, which keep the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from cytotome.io.images import read_image
from cytotome.ops.pictures import cell_colours
from cytotome.report.overlay import draw_overlay, write_overlay
from cytotome.types import Image, Instances

RAMP = Image(np.tile(np.arange(256, dtype=np.uint8), (64, 1)))


def test_outlines_are_the_outermost_pixels_of_each_cell_and_nothing_else_changes() -> None:
    generator = np.random.default_rng(3)
    mask = generator.random((64, 256)) < 0.8
    overlay = draw_overlay(RAMP, Instances.from_masks([mask], ids=[7]))
    outline = mask & ~binary_erosion(mask)
    assert (overlay[outline] == cell_colours(np.array([7]))[0]).all()
    bare = draw_overlay(RAMP, Instances.empty(RAMP.shape))
    np.testing.assert_array_equal(overlay[~outline], bare[~outline])


def test_cells_that_touch_and_overlap_have_outlines_of_their_own() -> None:
    masks = np.zeros((2, 64, 256), bool)
    masks[0, 10:30, 10:40] = True
    masks[1, 10:30, 30:60] = True
    overlay = draw_overlay(RAMP, Instances.from_masks(masks))
    first, second = cell_colours(np.array([1, 2]))
    assert (overlay[15, 10] == first).all()
    assert (overlay[15, 39] == first).all()  # inside the second cell
    assert (overlay[15, 30] == second).all()
    assert np.abs(first.astype(int) - second).max() > 100


def test_stretching_maps_the_percentiles_to_black_and_white_for_each_type() -> None:
    levels = np.linspace(0, 1, 300 * 300, dtype=np.float64).reshape(300, 300)
    for image in (
        Image((levels * 200 + 20).astype(np.uint8)),
        Image((levels * 60000).astype(np.uint16)),
        Image((levels - 0.5).astype(np.float32)),
        Image(np.repeat((levels * 255).astype(np.uint8)[:, :, None], 4, axis=2)),
    ):
        stretched = draw_overlay(image, Instances.empty(image.shape))
        assert stretched.shape == (300, 300, 3)
        assert (stretched[0, 0] == 0).all()
        assert (stretched[-1, -1] == 255).all()
        assert stretched[150, 0] == pytest.approx(np.full(3, 127.5), abs=3)


def test_a_bare_image_without_contrast_in_its_percentiles_is_drawn() -> None:
    pixels = np.zeros((50, 50), np.float32)
    pixels[0, 0] = 1
    assert draw_overlay(Image(pixels), Instances.empty((50, 50))).max() == 255


def test_outlines_on_a_colour_image_have_the_same_colours_as_on_a_grey_one() -> None:
    colour = Image(np.repeat(RAMP.pixels[:, :, None], 3, axis=2))
    instances = Instances.from_masks(np.ones((1, 64, 256), bool), ids=[23])
    assert (draw_overlay(colour, instances)[0] == draw_overlay(RAMP, instances)[0]).all()


def test_the_written_picture_is_the_drawn_one(tmp_path: Path) -> None:
    instances = Instances.from_masks(np.ones((1, 64, 256), bool))
    write_overlay(tmp_path / "a_overlay.png", RAMP, instances)
    np.testing.assert_array_equal(read_image(tmp_path / "a_overlay.png").pixels, draw_overlay(RAMP, instances))
    assert [path.name for path in tmp_path.iterdir()] == ["a_overlay.png"]
