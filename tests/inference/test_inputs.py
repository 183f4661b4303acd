"""What users give as images: accepted where it is clear what is meant, and refused with the remedy where it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cytotome.errors import ImageError
from cytotome.inference.inputs import is_one, several, to_image
from cytotome.inference.model import Model
from cytotome.types import AnyArray, Dataset, FloatArray, Image, Sample, SampleInfo

MakeModel = Callable[..., Model]
Discs = Callable[[tuple[int, int], int, int], tuple[FloatArray, AnyArray]]

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
COLOUR = np.stack([GREY, GREY + 1, GREY + 2], axis=-1)


class Pictures(Dataset):
    """Some images without truth."""

    def __init__(self, images: list[AnyArray]) -> None:
        self.images = images
        self.infos = tuple(SampleInfo(f"picture-{index}", mask_quality="none") for index in range(len(images)))

    def read(self, index: int) -> Sample:
        return Sample(self.infos[index], Image(self.images[index]))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (GREY, GREY),
        (COLOUR, COLOUR),
        (GREY.astype(np.int64), GREY.astype(np.float32)),
        (GREY > 20, (GREY > 20).astype(np.uint8)),
        (GREY[None], GREY),
        (COLOUR[None], COLOUR),
        (torch.from_numpy(COLOUR).permute(2, 0, 1), COLOUR),
        (torch.from_numpy(GREY).to(torch.bfloat16).requires_grad_(), GREY.astype(np.float32)),
        (Sample(SampleInfo("a"), Image(COLOUR)), COLOUR),
        (np.zeros((20, 30, 8), np.uint16), np.zeros((20, 30, 8), np.uint16)),
    ],
)
def test_what_is_clear_is_accepted(given: Any, expected: AnyArray) -> None:
    pixels = to_image(given).pixels
    assert pixels.dtype == expected.dtype
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            np.moveaxis(COLOUR, -1, 0),
            r"expected .* \(H, W, C\), got \(3, 6, 8\); move channels to the end by ",
        ),
        (np.zeros((12, 60, 80)), r"got \(12, 60, 80\);.* or give the images of a stack to segment as list\(array\)"),
        (np.zeros((2, 3, 4, 5)), r"got \(2, 3, 4, 5\)"),
        ([GREY, GREY[:3]], "got a list; give several images to segment as a list, an iterator or a Dataset"),
        (object(), r"expected an Image, a Sample, a \(H, W\) or \(H, W, C\) array of numbers or a path, got a object"),
        (b"a.tif", "got a bytes"),
        (np.array(["a.tif"]), r"got an array of shape \(1,\)"),
    ],
)
def test_what_is_not_clear_says_what_to_pass(given: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        to_image(given)


def test_one_image_is_told_from_several() -> None:
    assert all(is_one(one) for one in (GREY, "a.tif", Image(GREY), Sample(SampleInfo("a"), Image(GREY)), 3))
    assert not any(is_one(many) for many in ([GREY], (GREY,), iter([GREY]), Pictures([GREY]), {"a": GREY}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a.tif", "expected several, got the path 'a.tif'; use segment for one image"),
        (GREY, r"got an array of shape \(6, 8\)"),
        (COLOUR, r"got an array of shape \(6, 8, 3\)"),
        (Image(GREY), "got a Image"),
        (3, "got a int"),
        ({"a": GREY}, r"got a dict, of which only the keys would be read; give \.values\(\)"),
    ],
)
def test_a_stream_is_never_the_rows_or_letters_of_one_image(given: Any, message: str, make_model: MakeModel) -> None:
    with pytest.raises(ImageError, match=message):
        several(given)
    with pytest.raises(ImageError, match=message):
        make_model().segment_many(given)


def test_iterators_samples_datasets_and_stacks_give_the_cells_of_each(make_model: MakeModel, discs: Discs) -> None:
    model = make_model()
    images = [discs((64, 80), count, count)[0] for count in (3, 5)]
    pictures = Pictures(images)  # type: ignore[arg-type]
    expected = [cells.runs.tolist() for cells in model.segment(images)]
    for given in ((image for image in images), pictures, list(pictures), iter(pictures)):
        assert [cells.runs.tolist() for cells in model.segment(given)] == expected
    for many in (np.stack(images), torch.from_numpy(np.stack(images)), map(np.asarray, images)):
        assert [cells.runs.tolist() for cells in model.segment_many(many)] == expected
