"""Which pixels the samplers give: those they name, valid ones, no more than allowed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from cytotome.families.embedding.samplers import sample_box, sample_contours, sample_uniform, sample_window

SAMPLERS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "uniform": sample_uniform,
    "window": lambda labels, valid, most: sample_window(labels, valid, most, 21),
    "box": lambda labels, valid, most: sample_box(labels, valid, most, 4),
    "contours": lambda labels, valid, most: sample_contours(labels, valid, most, 2),
}


def _labels() -> Tensor:
    labels = torch.zeros(60, 80, dtype=torch.int32)
    labels[5:25, 5:30] = 3
    labels[5:25, 30:50] = 900_000
    labels[40:50, 60:75] = 4
    return labels


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("most", [7, 100_000])
def test_pixels_are_valid_distinct_and_few_enough(name: str, most: int) -> None:
    torch.manual_seed(0)
    labels = _labels()
    valid = torch.rand(60, 80) < 0.7
    for _ in range(5):
        chosen = SAMPLERS[name](labels, valid, most)
        assert 0 < len(chosen) <= most
        assert len(torch.unique(chosen)) == len(chosen)
        assert valid.reshape(-1)[chosen].all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_without_cells_or_valid_pixels(name: str) -> None:
    empty = torch.zeros(60, 80, dtype=torch.int32)
    assert len(SAMPLERS[name](empty, torch.ones(60, 80, dtype=torch.bool), 50)) == 50
    assert len(SAMPLERS[name](_labels(), torch.zeros(60, 80, dtype=torch.bool), 50)) == 0


def test_a_window_is_a_square_anywhere() -> None:
    torch.manual_seed(0)
    labels, valid = _labels(), torch.ones(60, 80, dtype=torch.bool)
    corners = set()
    for _ in range(60):
        chosen = sample_window(labels, valid, 10_000, 21)
        ys, xs = chosen // 80, chosen % 80
        assert len(chosen) == 21 * 21
        assert (int(ys.max() - ys.min()), int(xs.max() - xs.min())) == (20, 20)
        corners.add((int(ys.min()), int(xs.min())))
    assert len(corners) > 40
    assert len(sample_window(labels, valid, 10_000, 500)) == 60 * 80


def test_a_box_holds_one_cell_and_its_padding() -> None:
    torch.manual_seed(0)
    labels, valid = _labels(), torch.ones(60, 80, dtype=torch.bool)
    sizes = {len(sample_box(labels, valid, 10_000, 4)) for _ in range(40)}
    assert sizes == {28 * 33, 28 * 28, 18 * 23}


def test_bands_are_dilation_without_erosion() -> None:
    torch.manual_seed(0)
    labels, valid = _labels(), torch.ones(60, 80, dtype=torch.bool)
    expected = np.zeros((60, 80), bool)
    for cell in (3, 4, 900_000):
        mask = (labels == cell).numpy()
        square = np.ones((7, 7), bool)
        expected |= ndimage.binary_dilation(mask, square) & ~ndimage.binary_erosion(mask, square, border_value=1)
    chosen = sample_contours(labels, valid, 100_000, 10)
    found = np.zeros(60 * 80, bool)
    found[chosen.numpy()] = True
    np.testing.assert_array_equal(found.reshape(60, 80), expected)
    one = sample_contours(labels, valid, 100_000, 1)
    assert len(one) < len(chosen)
