"""The warp of image and masks, changes of grey level, pasted cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytotome.data.augment import (
    Augmentation,
    Picture,
    change_grey_levels,
    draw_matrix,
    make_picture,
    paste_cells,
    warp,
)
from cytotome.errors import ConfigError
from cytotome.ops.runs import mask_crop
from cytotome.types import Instances

NOTHING = Augmentation.none()


def disk(shape: tuple[int, int], y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def overlapping(shape: tuple[int, int] = (60, 80)) -> Instances:
    return Instances.from_masks([disk(shape, 30, 30, 12), disk(shape, 30, 44, 12), disk(shape, 10, 65, 6)])


def picture_of(instances: Instances, seed: int = 0) -> Picture:
    planes = np.random.default_rng(seed).random((1, *instances.shape), np.float32)
    return make_picture(planes, instances)


def full_masks(instances: Instances) -> dict[int, np.ndarray]:
    masks = {}
    for index, identity in enumerate(instances.ids):
        mask = np.zeros(instances.shape, bool)
        crop, (y, x) = mask_crop(instances, index)
        mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        masks[int(identity)] = mask
    return masks


def test_an_unchanged_crop_is_a_part_of_the_image() -> None:
    instances = overlapping()
    picture = picture_of(instances)
    rng = np.random.default_rng(3)
    for _ in range(20):
        matrix = draw_matrix(rng, NOTHING, picture, (32, 48), 1.0, 0.5)
        part = warp(picture, matrix, (32, 48))
        x, y = np.rint(-matrix[:, 2]).astype(int)
        assert 0 <= y <= 60 - 32
        assert 0 <= x <= 80 - 48
        np.testing.assert_array_equal(part.pixels, picture.pixels[y : y + 32, x : x + 48])
        expected = {
            identity: mask[y : y + 32, x : x + 48]
            for identity, mask in full_masks(instances).items()
            if mask[y : y + 32, x : x + 48].any()
        }
        found = full_masks(part.instances())
        assert found.keys() == expected.keys()
        for identity, mask in found.items():
            np.testing.assert_array_equal(mask, expected[identity])
        assert part.valid is not None
        assert part.valid.all()


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_quarter_turns_and_mirrors_are_exact(flip: float) -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[3:9, 5:30] = 4
    labels[20:38, 2:10] = 9
    picture = picture_of(Instances.from_label_map(labels))
    square = picture.pixels[:, :, 0]
    seen = set()
    for seed in range(12):
        augmentation = NOTHING.model_copy(update={"quarter_turn": 1.0, "flip": flip})
        matrix = draw_matrix(np.random.default_rng(seed), augmentation, picture, (40, 40), 1.0, 0.0)
        turned = warp(picture, matrix, (40, 40))
        matches = [
            (turn, mirror)
            for turn in range(4)
            for mirror in (0, 1)
            if np.array_equal(np.rot90(square[:, ::-1] if mirror else square, turn), turned.pixels[:, :, 0])
        ]
        assert len(matches) == 1
        turn, mirror = matches[0]
        assert mirror == flip
        seen.add(turn)
        moved = np.rot90(labels[:, ::-1] if mirror else labels, turn)
        found = full_masks(turned.instances())
        for identity in (4, 9):
            np.testing.assert_array_equal(found[identity], moved == identity)
    assert seen == {0, 1, 2, 3}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.6, 2.5))
def test_areas_grow_with_the_square_of_the_scale(seed: int, scale: float) -> None:
    instances = Instances.from_masks([disk((90, 90), 45, 45, 14)])
    augmentation = Augmentation(scale=(1, 1), rotate=1)
    picture = picture_of(instances)
    size = (240, 240)
    part = warp(picture, draw_matrix(np.random.default_rng(seed), augmentation, picture, size, scale, 1.0), size)
    area = int(part.instances().areas.sum())
    assert area == pytest.approx(float(instances.areas[0]) * scale**2, rel=0.05)


def test_image_and_masks_move_together() -> None:
    instances = overlapping((200, 200)).select([0, 2])
    grey = sum(mask * (0.2 + 0.3 * identity) for identity, mask in full_masks(instances).items())
    picture = make_picture(np.asarray(grey, np.float32)[None], instances)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        part = warp(picture, draw_matrix(rng, Augmentation(rotate=1), picture, (96, 96), 1.5, 1.0), (96, 96))
        for identity, mask in full_masks(part.instances()).items():
            # half of a border pixel may lie outside; reflected copies beyond the image have no mask
            error = np.abs(part.pixels[:, :, 0] - (0.2 + 0.3 * identity))[mask]
            assert (error > 0.6 * (0.2 + 0.3 * identity)).mean() < 0.02


@pytest.mark.parametrize("seed", range(6))
def test_cells_that_lie_beside_their_masks_are_brought_together(seed: int) -> None:
    shape = (60, 80)
    seen = disk(shape, 35, 37, 12).astype(np.float32)
    picture = make_picture(seen[None], Instances.from_masks([disk(shape, 30, 40, 12)]), offset=(5.0, -3.0))
    rng = np.random.default_rng(seed)
    matrix = draw_matrix(rng, Augmentation(rotate=1, scale=(1, 1)), picture, (48, 48), 1.0, 1.0)
    part = warp(picture, matrix, (48, 48))
    inside = part.layers[0] > 0
    assert np.abs(part.pixels[:, :, 0] - inside).mean() < 0.03


def test_outside_the_image_nothing_is_valid() -> None:
    picture = picture_of(overlapping())
    part = warp(picture, np.array([[1.0, 0, 10], [0, 1, 5]]), (100, 120))
    expected = np.zeros((100, 120), np.uint8)
    expected[5:65, 10:90] = 1
    assert part.valid is not None
    np.testing.assert_array_equal(part.valid, expected)
    np.testing.assert_array_equal(part.pixels[4, 10:90], picture.pixels[1])  # the mirror image
    assert not part.layers[:, expected == 0].any()


def test_ignored_pixels_are_not_valid() -> None:
    instances = overlapping()
    ignore = np.zeros(instances.shape, bool)
    ignore[7:20, 9:30] = True
    picture = make_picture(np.zeros((1, 60, 80), np.float32), instances, ignore)
    part = warp(picture, np.eye(2, 3), (60, 80))
    assert part.valid is not None
    np.testing.assert_array_equal(part.valid == 0, ignore)


def test_an_unlabelled_picture_is_nowhere_valid() -> None:
    part = warp(make_picture(np.zeros((1, 30, 30), np.float32), None), np.eye(2, 3), (30, 30))
    assert part.valid is not None
    assert not part.valid.any()
    assert len(part.instances()) == 0


def test_a_crop_is_laid_over_a_cell() -> None:
    instances = Instances.from_masks([disk((400, 500), 17, 480, 4)])
    picture = picture_of(instances)
    for seed in range(40):
        matrix = draw_matrix(np.random.default_rng(seed), Augmentation(), picture, (64, 64), 1.5, 1.0)
        assert len(warp(picture, matrix, (64, 64)).instances()) == 1


def test_a_small_image_fits_whole_into_the_crop() -> None:
    instances = overlapping((40, 30)).select([0])
    picture = picture_of(instances)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        part = warp(picture, draw_matrix(rng, NOTHING, picture, (64, 64), 1.0, 0.5), (64, 64))
        assert part.valid is not None
        assert int(part.valid.sum()) == 40 * 30
        assert part.instances().areas.sum() == instances.areas.sum()


def test_grey_levels_stay_without_augmentation() -> None:
    pixels = np.random.default_rng(0).random((20, 20, 2), np.float32)
    np.testing.assert_array_equal(change_grey_levels(np.random.default_rng(1), NOTHING, pixels), pixels)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("brightness", 0.0, 0.2), ("contrast", 0.0, 1e-5), ("noise", 0.0, 0.01), ("blur", 0.0, 0.02)],
)
def test_the_mean_moves_by_brightness_alone(name: str, low: float, high: float) -> None:
    pixels = np.random.default_rng(0).random((64, 64, 1), np.float32)
    augmentation = NOTHING.model_copy(update={name: 1.0, "brightness_range": 0.2, "noise_range": 0.1})
    moves = []
    for seed in range(10):
        changed = change_grey_levels(np.random.default_rng(seed), augmentation, pixels)
        assert changed.dtype == np.float32
        assert not np.array_equal(changed, pixels)
        moves.append(abs(float(changed.mean() - pixels.mean())))
    assert low <= min(moves)
    assert max(moves) <= high


def test_gamma_keeps_the_extremes_and_the_order() -> None:
    pixels = np.sort(np.random.default_rng(0).random(100, np.float32)).reshape(10, 10, 1) * 3 - 1
    augmentation = NOTHING.model_copy(update={"gamma": 1.0})
    changed = change_grey_levels(np.random.default_rng(5), augmentation, pixels)
    assert changed.min() == pytest.approx(pixels.min(), abs=1e-5)
    assert changed.max() == pytest.approx(pixels.max(), abs=1e-5)
    assert (np.diff(changed.ravel()) >= 0).all()


def test_a_pasted_cell_brings_its_pixels_and_hides_what_is_below() -> None:
    shape = (80, 80)
    target = picture_of(Instances.from_masks([disk(shape, 40, 26, 12)]), 1)
    donor = picture_of(Instances.from_masks([disk(shape, 40, 44, 10)]), 2)  # covers a little of the target's cell
    pasted = paste_cells(np.random.default_rng(0), target, donor, 3)
    mask, below = disk(shape, 40, 44, 10), disk(shape, 40, 26, 12)
    masks = full_masks(pasted.instances())
    assert len(masks) == 2
    np.testing.assert_array_equal(masks[2], mask)
    np.testing.assert_array_equal(masks[1], below & ~mask)
    inner = disk(shape, 40, 44, 5)
    assert np.corrcoef(pasted.pixels[inner, 0], donor.pixels[inner, 0])[0, 1] > 0.999
    np.testing.assert_array_equal(pasted.pixels[:, :10], target.pixels[:, :10])


def test_cells_cut_by_the_border_or_over_other_cells_are_not_pasted() -> None:
    shape = (60, 60)
    target = picture_of(Instances.from_masks([disk(shape, 30, 30, 12)]))
    cut = picture_of(Instances.from_masks([disk(shape, 0, 30, 8)]))
    over = picture_of(Instances.from_masks([disk(shape, 30, 30, 8)]))
    nothing = make_picture(np.zeros((1, *shape), np.float32), None)
    for donor in (cut, over, nothing):
        assert paste_cells(np.random.default_rng(0), target, donor, 3) is target


def test_pasting_needs_one_size() -> None:
    with pytest.raises(ConfigError, match="warp both to one crop"):
        paste_cells(np.random.default_rng(0), picture_of(overlapping()), picture_of(overlapping((61, 80))), 3)


def test_the_scale_range_must_rise() -> None:
    with pytest.raises(ValueError, match="the smaller first"):
        Augmentation(scale=(1.2, 0.8))
