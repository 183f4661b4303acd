"""The way to the network's input and back keeps every pixel in its place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from cytotome.outputs.canvas import resized_detections, resized_maps, to_canvas
from cytotome.types import Instances


@pytest.mark.parametrize(("shape", "scale"), [((52, 70), 1.0), ((52, 70), 1.5), ((33, 47), 0.7), ((1, 5), 2.0)])
def test_a_canvas_holds_the_resized_image_and_its_reflection(shape: tuple[int, int], scale: float) -> None:
    planes = np.random.default_rng(0).random((2, *shape), np.float32)
    canvas = to_canvas(planes, scale, 16)
    height, width = canvas.content
    assert (height, width) == tuple(round(side * scale) for side in shape)
    assert canvas.pixels.shape[1] == -(-height // 16) * 16
    assert canvas.pixels.shape[2] == -(-width // 16) * 16
    for plane, pixels in zip(planes, canvas.pixels, strict=True):
        inside = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(pixels[:height, :width], inside)
        padding = [(0, total - side) for total, side in zip(pixels.shape, inside.shape, strict=True)]
        np.testing.assert_array_equal(pixels, np.pad(inside, padding, mode="reflect"))


def test_an_image_that_fits_is_not_copied() -> None:
    planes = np.zeros((1, 32, 64), np.float32)
    assert to_canvas(planes, 1.0, 32).pixels is planes


@pytest.mark.parametrize("map_stride", [1, 2, 8])
@pytest.mark.parametrize("scale", [1.0, 1.5, 0.8, 2.0])
def test_places_are_kept_at_every_resolution(map_stride: int, scale: float) -> None:
    """A map of each pixel's own place, made on the canvas at any resolution, is right on the image."""
    canvas = to_canvas(np.zeros((1, 90, 131), np.float32), scale, 16)
    grid = []
    for axis in (0, 1):
        steps = torch.arange(canvas.pixels.shape[1 + axis] // map_stride)
        grid.append(((steps + 0.5) * map_stride) * (90, 131)[axis] / canvas.content[axis] - 0.5)
    maps = torch.stack(torch.meshgrid(*grid, indexing="ij"))[None]
    placed = resized_maps({"place": maps.to(memory_format=torch.channels_last)}, canvas, (90, 131))["place"]
    expected = torch.stack(torch.meshgrid(torch.arange(90.0), torch.arange(131.0), indexing="ij"))[None]
    edge = 4 * map_stride
    inner = (slice(None), slice(None), slice(edge, -edge), slice(edge, -edge))
    torch.testing.assert_close(placed[inner], expected[inner], rtol=0, atol=1e-3)
    assert placed.is_contiguous()
    assert placed.dtype == torch.float32


def test_it_equals_the_plain_resize_where_nothing_is_padded() -> None:
    canvas = to_canvas(np.zeros((1, 64, 32), np.float32), 1.5, 16)
    maps = torch.randn(2, 3, 96, 48).bfloat16()
    expected = functional.interpolate(maps.float(), (64, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resized_maps({"a": maps}, canvas, (64, 32))["a"], expected)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_an_offset_image_is_seen_from_further_down_and_right(scale: float) -> None:
    rows, columns = np.meshgrid(np.arange(64.0), np.arange(96.0), indexing="ij")
    planes = np.stack([rows, columns]).astype(np.float32)
    plain, seen = to_canvas(planes, scale, 32).pixels, to_canvas(planes, scale, 32, (0.4, 0.15)).pixels
    inner = (slice(None), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose((seen - plain)[inner][0], 0.4, atol=0.04)  # OpenCV places samples to 1/32 of a pixel
    np.testing.assert_allclose((seen - plain)[inner][1], 0.15, atol=0.04)


def test_maps_at_the_image_scale_are_cropped_exactly() -> None:
    canvas = to_canvas(np.zeros((1, 30, 50), np.float32), 1.0, 32)
    maps = torch.randn(1, 2, 32, 64)
    assert torch.equal(resized_maps({"a": maps}, canvas, (30, 50))["a"], maps[:, :, :30, :50])


def test_instances_follow_their_image() -> None:
    labels = np.zeros((8, 12), np.int32)
    labels[1:3, 2:7] = 4
    labels[5:8, 9:12] = 9
    large = np.zeros((32, 32), np.int32)
    large[:16, :24] = np.kron(labels, np.ones((2, 2), np.int32))
    large[20:, 20:] = 11
    cells = Instances.from_label_map(large, scores=np.array([0.25, 0.5, 0.75]))
    found = resized_detections(cells, (16, 24), (8, 12))
    np.testing.assert_array_equal(found.to_label_map(), labels)
    assert found.scores.tolist() == [0.25, 0.5]
    assert found.shape == (8, 12)
