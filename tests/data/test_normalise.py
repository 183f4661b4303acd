"""Grey levels to network input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from cytotome.data.normalise import Normalisation, normalise, to_channels
from cytotome.errors import ImageError
from cytotome.types import AnyArray, Image


def nuclei(side: int, seed: int = 0) -> AnyArray:
    """Four soft bright discs in noise, in the upper left 256 x 256 pixels of a field."""
    rng = np.random.default_rng(seed)
    grey = np.zeros((side, side), np.float32)
    for x, y in ((60, 60), (190, 70), (70, 200), (180, 190)):
        cv2.circle(grey, (x, y), 9, 60 + x / 4, -1)
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), 1) + rng.normal(20, 2, grey.shape)).astype(np.uint16)


@pytest.mark.parametrize("highest", [99.0, 99.8])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_sparse_field_is_normalised_as_its_crop(highest: float, sign: int) -> None:
    field = (100 + sign * nuclei(2048).astype(np.float32)).astype(np.float32)
    rule = Normalisation(high=highest)
    whole = normalise(Image(field), rule)[0, :256, :256]
    crop = normalise(Image(field[:256, :256].copy()), rule)[0]
    np.testing.assert_allclose(whole, crop, atol=0.02)


@pytest.mark.parametrize("sigma", [0.1, 3.0])
def test_noise_is_not_stretched(sigma: float) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(512, 512)), (0, 0), sigma)
    assert not normalise(Image((100 + 20 * noise / noise.std()).astype(np.uint16)), Normalisation()).any()


def test_a_channel_of_noise_becomes_zeros_beside_others() -> None:
    noise = np.random.default_rng(1).normal(100, 10, (256, 256)).astype(np.uint16)
    planes = normalise(Image(np.stack([nuclei(256), noise, nuclei(256, 2)], axis=2)), Normalisation(), 3)
    assert not planes[1].any()
    assert min(planes[0].max(), planes[2].max()) >= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_percentiles_become_zero_and_one(dtype: type) -> None:
    pixels = np.arange(200).reshape(10, 20).astype(dtype)
    planes = normalise(Image(pixels), Normalisation(low=10, high=90, clip=5))
    assert planes.shape == (1, 10, 20)
    assert np.percentile(planes, [10, 90]) == pytest.approx([0, 1], abs=1e-5)


def test_the_result_does_not_depend_on_gain_and_offset() -> None:
    pixels = np.random.default_rng(0).random((32, 32), np.float32)
    plain = normalise(Image(pixels), Normalisation())
    changed = normalise(Image(pixels * np.float32(37) + np.float32(5)), Normalisation())
    np.testing.assert_allclose(plain, changed, atol=1e-4)


def test_a_hot_pixel_is_clipped() -> None:
    pixels = np.random.default_rng(0).integers(90, 110, (64, 64)).astype(np.uint16)
    pixels[3, 4] = 60000
    assert normalise(Image(pixels), Normalisation(clip=0.5)).max() == np.float32(1.5)


def test_channels_are_normalised_one_by_one() -> None:
    grey = np.random.default_rng(0).random((16, 16, 1), np.float32)
    planes = normalise(Image(np.concatenate([grey, 100 * grey, 3 * grey - 7], axis=2)), Normalisation(), 3)
    np.testing.assert_allclose(planes[1], planes[0], atol=1e-5)
    np.testing.assert_allclose(planes[2], planes[0], atol=1e-5)


def test_colour_becomes_luminance_and_alpha_is_dropped() -> None:
    colour = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    alpha = np.concatenate([colour, np.full((8, 8, 1), 9, np.uint8)], axis=2)
    expected = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(to_channels(alpha, 1)[:, :, 0] - expected).max() < 1e-4
    assert (to_channels(alpha, 3) == colour).all()


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_picture_of_one_colour_is_as_good_as_that_channel_alone(channel: int) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (40, 50), np.uint8)
    colour = np.zeros((40, 50, 3), np.uint8)
    colour[:, :, channel] = grey
    expected = normalise(Image(grey), Normalisation())
    np.testing.assert_allclose(normalise(Image(colour), Normalisation()), expected, atol=1e-5)


def test_grey_saved_as_colour_is_that_grey() -> None:
    grey = np.random.default_rng(2).integers(0, 65536, (12, 15), np.uint16)
    found = to_channels(np.stack([grey] * 3, axis=2), 1)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[:, :, 0], grey)


def test_an_image_of_one_value_is_refused() -> None:
    with pytest.raises(ImageError, match="every pixel has the value 7"):
        normalise(Image(np.full((5, 5), 7, np.uint8)), Normalisation())


def test_a_channel_of_one_value_becomes_zeros_beside_others() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    pixels[..., 1] = 7
    planes = normalise(Image(pixels), Normalisation(), 3)
    assert not planes[1].any()
    for channel in (0, 2):
        np.testing.assert_array_equal(planes[channel], normalise(Image(pixels[..., channel]), Normalisation())[0])
    with pytest.raises(ImageError, match="every pixel has the value 7"):
        normalise(Image(np.full((5, 5, 3), 7, np.uint8)), Normalisation(), 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_found_wherever_it_is(value: float) -> None:
    pixels = np.random.default_rng(0).random((2048, 16), np.float32)
    pixels[1, 3] = value  # between the rows that percentiles are taken of
    with pytest.raises(ImageError, match="not finite"):
        normalise(Image(pixels), Normalisation())


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ImageError, match="not finite"):
        normalise(Image(np.full((5, 5), np.nan, np.float32)), Normalisation())


def test_channels_without_a_rule_are_refused() -> None:
    with pytest.raises(ImageError, match=r"^a\.tif: the model expects 1 channels, the image has 5"):
        normalise(Image(np.zeros((5, 5, 5), np.uint8), source="a.tif"), Normalisation())


def test_percentiles_must_rise() -> None:
    with pytest.raises(ValidationError, match="needs 0 <= low < high <= 100"):
        Normalisation(low=50, high=50)
