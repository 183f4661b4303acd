from __future__ import annotations

import numpy as np
import pytest

from cytotome.errors import ImageError
from cytotome.io.raster import MAX_PIXELS, check_size, colours_of, scale_of, to_native


def test_sizes_up_to_the_limit_pass():
    check_size("a.tif", (MAX_PIXELS, 1))
    with pytest.raises(ImageError, match=r"a\.tif: declares 536870913x1 values, more than the 536870912"):
        check_size("a.tif", (MAX_PIXELS + 1, 1))


def test_the_size_does_not_overflow():
    with pytest.raises(ImageError, match="more than"):
        check_size("a.tif", (2**32, 2**32))


def test_an_empty_size_is_refused():
    with pytest.raises(ImageError, match="declares an empty image of 0x7"):
        check_size("a.tif", (0, 7))


@pytest.mark.parametrize(
    ("across", "down", "expected"),
    [
        (0.65, 0.65, 0.65),
        (0.65, 0.6501, 0.65005),
        (0.5, 1.0, None),
        (25400 / 72, 25400 / 72, None),
        (25400 / 300, 25400 / 300, None),
        (25400 / 1200, 25400 / 1200, None),
        (0, 0, None),
        (-1, -1, None),
        (float("nan"), 1, None),
    ],
)
def test_only_a_microscopes_scale_is_taken(across, down, expected):
    microns = scale_of(across, down, "um").microns_per_pixel
    assert microns == (None if expected is None else pytest.approx(expected))


def test_native_arrays_are_in_the_order_of_the_machine():
    native = to_native(np.arange(6, dtype=">u2").reshape(2, 3))
    assert native.dtype.isnative
    assert native.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(("channels", "shape"), [(1, (2, 3)), (2, (2, 3)), (3, (2, 3, 3)), (4, (2, 3, 3))])
def test_alpha_is_the_channel_after_grey_or_rgb(channels, shape):
    pixels = np.arange(2 * 3 * channels).reshape(2, 3, channels)
    found = colours_of(pixels)
    assert found.shape == shape
    np.testing.assert_array_equal(found, pixels[:, :, 0] if channels < 3 else pixels[:, :, :3])
