"""Our PNG files, read by other libraries."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from cytotome.report.png import write_png


def test_true_colour_is_read_back_by_opencv(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3)).astype(np.uint8)
    write_png(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[:, :, ::-1], pixels)


def test_indexed_colour_is_read_back_by_pillow(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 200, (37, 53)).astype(np.uint8)
    palette = generator.integers(0, 256, (200, 3)).astype(np.uint8)
    write_png(tmp_path / "a.png", pixels, palette)
    with PIL.Image.open(tmp_path / "a.png") as picture:
        picture.load()  # checks the sums of all chunks
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), palette[pixels])
