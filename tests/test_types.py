"""The values that travel: what they check, and the verbs of instances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cytotome.errors import DataError, ImageError
from cytotome.types import AnyArray, Dataset, Image, Instances, Note, Sample, SampleInfo

Pair = tuple[Instances, Instances]


def two_cells(**changes: Any) -> Instances:
    """Two overlapping cells of an image of 4 x 6 pixels."""
    fields: dict[str, Any] = {
        "shape": (4, 6),
        "runs": np.array([[0, 1, 3], [1, 1, 4], [1, 2, 6]], np.int32),
        "offsets": np.array([0, 2, 3]),
        "scores": np.array([0.5, 1.0], np.float32),
        "classes": np.array([0, 1], np.int32),
        "ids": np.array([7, 3], np.int32),
        "class_names": ("cort", "astro"),
    }
    return Instances(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offsets": np.array([0, 2])}, "offsets must run from 0 to the number of runs"),
        ({"offsets": np.array([1, 2, 3])}, "offsets must run from 0 to the number of runs"),
        ({"runs": np.zeros((3, 2), np.int32)}, r"runs must be \(R, 3\)"),
        ({"scores": np.ones(3, np.float32)}, r"scores must be \(2,\), got \(3,\)"),
        ({"runs": np.array([[0, 1, 3], [1, 1, 4], [1, 2, 7]], np.int32)}, "a run exceeds the image of 4x6"),
        ({"runs": np.array([[0, 3, 3], [1, 1, 4], [1, 2, 6]], np.int32)}, "a run must have start < stop"),
    ],
)
def test_instances_that_contradict_themselves_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        two_cells(**changes)


@pytest.mark.parametrize(
    ("pixels", "microns", "message"),
    [
        (np.zeros((2, 3, 4, 5), np.uint8), None, r"expected \(H, W\) or \(H, W, C\)"),
        (np.zeros((2, 3), np.int64), None, "of uint8, uint16 or float32"),
        (np.zeros((0, 3), np.uint8), None, "the image is empty"),
        (np.zeros((2, 3), np.uint8), 0.0, "microns_per_pixel must be positive"),
    ],
)
def test_images_that_cannot_be_are_refused(pixels: AnyArray, microns: float | None, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        Image(pixels, microns)


@pytest.mark.parametrize("seed", range(8))
def test_masks_are_those_painted_run_by_run(
    seed: int, random_pair: Callable[[int], Pair], dense: Callable[[Instances], AnyArray]
) -> None:
    cells, _ = random_pair(seed)
    masks = cells.masks()
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks, dense(cells))
    again = Instances.from_masks(masks, shape=cells.shape)
    np.testing.assert_array_equal(again.runs, cells.runs)
    np.testing.assert_array_equal(again.offsets, cells.offsets)


def test_nothing_has_no_mask() -> None:
    assert Instances.empty((3, 4)).masks().shape == (0, 3, 4)


def test_an_index_a_slice_a_mask_and_positions_choose_cells() -> None:
    cells = two_cells()
    assert cells[0].ids.tolist() == [7]
    assert cells[-1].ids.tolist() == [3]
    assert cells[::-1].ids.tolist() == [3, 7]
    assert cells[np.array([False, True])].ids.tolist() == [3]
    assert cells[cells.scores > 2].ids.tolist() == []
    assert cells[[1, 0, 1]].ids.tolist() == [3, 7, 3]
    np.testing.assert_array_equal(cells[1].masks()[0], cells.masks()[1])


@pytest.mark.parametrize("index", [2, -3, np.array([True])])
def test_a_position_that_there_is_not_is_an_index_error(index: Any) -> None:
    with pytest.raises(IndexError):
        two_cells()[index]


def test_iterating_gives_each_cell_once() -> None:
    assert [(len(cell), int(cell.ids[0]), int(cell.areas[0])) for cell in two_cells()] == [(1, 7, 5), (1, 3, 4)]


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.ones((4, 6), bool), r"masks must be \(N, H, W\) or a list of \(H, W\), got a mask of \(6,\)"),
        ([np.ones((4, 6)), np.ones((4, 5))], r"masks must have the same size, got \(4, 5\) and \(4, 6\)"),
        ([], r"give shape=\(H, W\) if there is no mask"),
    ],
)
def test_masks_that_cannot_be_are_refused(masks: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Instances.from_masks(masks)


def test_a_label_map_comes_back_and_shared_pixels_follow_the_policy() -> None:
    labels = np.array([[0, 2, 2], [5, 5, 0]])
    np.testing.assert_array_equal(Instances.from_label_map(labels).to_label_map(), labels)
    cells = two_cells()  # of 5 and 4 pixels, share two; the smaller scores 1
    assert cells.to_label_map().tolist()[1] == [0, 7, 3, 3, 3, 3]
    assert replace(cells, scores=cells.scores[::-1]).to_label_map("score").tolist()[1] == [0, 7, 7, 7, 3, 3]
    assert set(np.unique(cells.to_label_map("drop"))) == {0, 3}


def test_overlaps_are_those_of_the_masks() -> None:
    cells = two_cells()
    pairs = cells.overlaps(cells[[1]])
    assert pairs.prediction.tolist() == [0, 1]
    assert pairs.iou.tolist() == [2 / 7, 1.0]


def test_renumbered_ids_count_from_one() -> None:
    assert two_cells().renumbered().ids.tolist() == [1, 2]
    assert two_cells().renumbered().scores.tolist() == [0.5, 1.0]


def test_instances_are_shown_in_one_short_line() -> None:
    assert repr(two_cells()) == "Instances(2 cells, 4x6, classes cort/astro)"
    assert repr(Instances.empty((520, 704))) == "Instances(0 cells, 520x704)"


class Squares(Dataset):
    """A dataset as a user writes it: neither name nor class names, and a ``read`` that can go wrong."""

    def __init__(self, count: int) -> None:
        self.infos = tuple(SampleInfo(f"square-{index}") for index in range(count))

    def read(self, index: int) -> Any:
        if index == 1:
            raise KeyError("pixels")
        if index == 2:
            return np.zeros((4, 4), np.uint8)
        if index == 3:
            raise ImageError("square.png: damaged")
        mask = np.ones((1, 2, 2), bool)
        return Sample(self.infos[index], Image(np.eye(2, dtype=np.uint8)), Instances.from_masks(mask, shape=(2, 2)))


def test_a_dataset_has_a_name_without_setting_one() -> None:
    squares = Squares(2)
    assert (squares.name, squares.class_names, squares.notes) == ("Squares", ("cell",), ())
    assert squares.subset([0]).name == "Squares"
    assert squares.instances(0).areas.tolist() == [4]  # type: ignore[union-attr]
    assert not hasattr(squares, "length")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (1, r"^Squares: sample 1 \(square-1\) cannot be read \(KeyError: 'pixels'\); check its read$"),
        (2, r"^Squares: sample 2 \(square-2\): read must return a Sample, got ndarray$"),
        (3, r"^square\.png: damaged$"),
    ],
)
def test_a_sample_that_cannot_be_read_is_named(index: int, message: str) -> None:
    squares = Squares(4)
    for read in (
        lambda: squares[index],
        lambda: squares[index - 4],
        lambda: squares.instances(index),
        lambda: squares.subset([index])[0],
        lambda: list(squares.subset(range(index, 4))),
    ):
        with pytest.raises((DataError, ImageError), match=message):
            read()


def test_a_dataset_without_infos_says_what_to_set() -> None:
    class Bare(Dataset):
        pass

    with pytest.raises(DataError, match="Bare: infos is not set; set it to a tuple with one SampleInfo per sample"):
        len(Bare())


def test_what_a_sample_is_for_follows_from_its_masks() -> None:
    full, approximate, none = (SampleInfo("a", mask_quality=name) for name in ("full", "approximate", "none"))
    assert [(info.is_labelled, info.is_scored) for info in (full, approximate, none)] == [
        (True, True),
        (True, False),
        (False, False),
    ]
    assert (full.split_key, SampleInfo("a", group="well").split_key) == ("a", "well")


def test_a_note_counts_and_names() -> None:
    note = Note("label maps fit no image", ("a", "b", "c", "d"), "rename them")
    assert str(note) == "label maps fit no image (4): a, b, c, ...; rename them"
    assert note.text(None) == "label maps fit no image (4): a, b, c, d; rename them"
    assert str(Note("empty", ("a",))) == "empty (1): a"
