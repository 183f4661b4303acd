"""Pictures of another kind than a model knows are told from those that it knows."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from cytotome.datasets import open_dataset
from cytotome.inference.teller import Teller
from cytotome.models.header import read_header
from cytotome.models.look import Look, background_level, grey_levels, measured_look
from cytotome.models.registry import find_model
from cytotome.types import Image, Instances


def picture(back: float, cells: float, side: int = 256) -> Image:
    """Discs of one grey level on a background of another."""
    grey = np.full((side, side), back, np.float32)
    for x, y in ((60, 60), (190, 70), (70, 200), (180, 190)):
        cv2.circle(grey, (x, y), 12, cells, -1)
    noise = np.random.default_rng(0).normal(0, 2, grey.shape)
    return Image((grey + noise).clip(0, 255).astype(np.uint8))


def level_of(image: Image) -> float | None:
    grey = grey_levels(image)
    return None if grey is None else background_level(grey)


def bundled_look(name: str) -> Look:
    look = read_header(find_model(name)).card.look
    assert look is not None
    return look


def test_bright_and_dark_cells_are_told_by_the_background() -> None:
    bright, dark = level_of(picture(20, 200)), level_of(picture(200, 20))
    assert bright == pytest.approx(0.05, abs=0.05)
    assert dark == pytest.approx(0.95, abs=0.05)


def test_nothing_is_said_of_noise_and_of_small_images() -> None:
    noise = np.random.default_rng(0).normal(100, 9, (256, 256)).astype(np.uint8)
    assert level_of(Image(noise)) is None
    assert level_of(Image(picture(20, 200).pixels[:100, :100])) is None


def test_a_sparse_field_has_the_level_of_its_crop() -> None:
    small, large = picture(20, 200), picture(20, 200, side=1024)
    assert level_of(large) == pytest.approx(level_of(small), abs=0.02)


def test_a_note_names_what_is_seen_and_what_is_known() -> None:
    look = measured_look([level_of(picture(20, 200)), level_of(picture(30, 120))])
    assert look is not None
    assert look.note(picture(10, 90)) == ""
    assert "dark objects on a bright background" in look.note(picture(200, 20))
    assert "invert the grey levels" in look.note(picture(200, 20))
    assert measured_look([]) is None


def test_python_users_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    tell, cells = Teller(lambda image, cells: Look(least=0, greatest=0.1).note(image)), Instances.empty((256, 256))
    with caplog.at_level(logging.WARNING, "cytotome"):
        assert all(tell(picture(200, 20), cells) is cells for _ in range(3))
        tell(picture(20, 200), cells)
    assert len(caplog.records) == 1


def test_least_must_not_exceed_greatest() -> None:
    with pytest.raises(ValidationError, match="least must not exceed greatest"):
        Look(least=0.5, greatest=0.1)


@pytest.mark.parametrize(
    ("folder", "right", "wrong"),
    [
        ("dsb2018/stage1_test", "nuclei", "neurons"),
        ("sartorius", "neurons", "nuclei"),
        ("livecell", "neurons", "nuclei"),
    ],
)
def test_real_images_fit_their_model_and_not_the_other(real_data: Path, folder: str, right: str, wrong: str) -> None:
    dataset = open_dataset(real_data / folder)
    images = [dataset[place].image for place in range(0, len(dataset), max(1, len(dataset) // 30))]
    false = [bool(bundled_look(right).note(image)) for image in images]
    true = [bool(bundled_look(wrong).note(image)) for image in images]
    assert np.mean(false) <= 0.05
    assert np.mean(true) >= 0.9


def test_inverted_fluorescence_is_told(real_data: Path) -> None:
    dataset = open_dataset(real_data / "dsb2018" / "stage1_test")
    for place in range(0, len(dataset), 5):
        image = dataset[place].image
        assert "invert the grey levels" in bundled_look("nuclei").note(replace(image, pixels=255 - image.pixels))
