"""What holds cells and what holds noise alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cytotome.data.contrast import find_windows
from cytotome.data.normalise import to_channels
from cytotome.datasets import open_dataset
from cytotome.types import FloatArray


def noise(side: int, sigma: float, seed: int = 0) -> FloatArray:
    """Gaussian noise of mean 0 and deviation 1, smoothed by ``sigma`` pixels."""
    values = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    values = cv2.GaussianBlur(values, (0, 0), sigma) if sigma else values
    return np.asarray(values / values.std())


@pytest.mark.parametrize("side", [256, 512])
@pytest.mark.parametrize("sigma", [0, 1, 2, 4, 8, 12])
def test_noise_is_empty_however_smooth_and_strong(side: int, sigma: float) -> None:
    grey = noise(side, sigma, seed=side)
    for plane in (grey, (100 + 20 * grey).clip(0, 255).astype(np.uint8), (9000 + 30 * grey).astype(np.uint16)):
        assert find_windows(plane).empty


def test_shot_noise_hot_pixels_and_shading_are_empty() -> None:
    rng = np.random.default_rng(0)
    plane = rng.poisson(30 + 20 * np.linspace(0, 1, 512)[:, None] ** 2, (512, 512)).astype(np.uint16)
    plane[rng.integers(0, 512, 200), rng.integers(0, 512, 200)] = 60000
    assert find_windows(plane).empty


def test_one_value_but_for_single_pixels_is_empty_at_any_size() -> None:
    plane = np.full((40, 50), 7, np.uint8)
    plane[10, 20] = 255
    assert find_windows(plane).empty


@pytest.mark.parametrize("sign", [1, -1])
def test_one_cell_in_noise_is_the_only_window_with_signal(sign: int) -> None:
    plane = (100 + 3 * noise(1024, 0)).astype(np.float32)
    cv2.circle(plane, (700, 320), 12, 100 + sign * 60, -1)
    windows = find_windows(plane)
    assert not windows.empty
    assert np.argwhere(windows.signal).tolist() == [[320 // 128, 700 // 128]]
    assert windows.pixels(plane).size == 128 * 128


def test_windows_cover_each_pixel_once() -> None:
    plane = np.random.default_rng(0).permutation(300 * 211).reshape(300, 211).astype(np.float32)
    windows = replace(find_windows(plane), signal=np.ones((2, 2), bool))
    np.testing.assert_array_equal(np.sort(windows.pixels(plane)), np.arange(300 * 211))
    assert windows.pixels(plane, most=2000).size <= 4000


@pytest.mark.parametrize("name", ["dsb2018/stage1_test", "sartorius", "livecell", "usiigaci/train"])
def test_no_real_image_is_empty(real_data: Path, name: str) -> None:
    dataset = open_dataset(real_data / name)
    for index in range(0, len(dataset), max(1, len(dataset) // 20)):
        assert not find_windows(to_channels(dataset[index].image.pixels, 1)[:, :, 0]).empty, dataset.infos[index].id
