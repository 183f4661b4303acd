"""Turned instances against turned label maps."""

from __future__ import annotations

import numpy as np
import pytest

from cytotome.ops.soft_masks import from_crops, pixel_crop
from cytotome.ops.symmetry import undo_symmetry
from cytotome.types import AnyArray, Instances


def turned(array: AnyArray, transposed: bool, flip_y: bool, flip_x: bool) -> AnyArray:
    array = array.T if transposed else array
    return array[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


@pytest.mark.parametrize("flags", [(t, y, x) for t in (False, True) for y in (False, True) for x in (False, True)])
def test_instances_of_a_turned_image_come_back(flags: tuple[bool, bool, bool]) -> None:
    rng = np.random.default_rng(1)
    labels = np.kron(rng.integers(0, 6, (4, 7)), np.ones((3, 2), int)).astype(np.int32)
    found = Instances.from_label_map(turned(labels, *flags))
    back = undo_symmetry(found, transposed=flags[0], flip_y=flags[1], flip_x=flags[2])
    np.testing.assert_array_equal(back.to_label_map(), labels)


@pytest.mark.parametrize("flags", [(t, y, x) for t in (False, True) for y in (False, True) for x in (False, True)])
def test_soft_masks_come_back_with_them(flags: tuple[bool, bool, bool]) -> None:
    rng = np.random.default_rng(2)
    plane = np.zeros((12, 17), np.float32)
    plane[3:8, 5:13] = rng.random((5, 8))

    def detect(image: AnyArray) -> Instances:
        rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
        y, x = rows[0], columns[0]
        crop = image[y : rows[-1] + 1, x : columns[-1] + 1]
        found = Instances.from_masks([crop > 0.5], shape=image.shape, origins=np.array([[y, x]]))
        return Instances(
            **{name: getattr(found, name) for name in found.__slots__} | {"soft": from_crops([crop], [[y, x]])}
        )

    back = undo_symmetry(detect(turned(plane, *flags)), transposed=flags[0], flip_y=flags[1], flip_x=flags[2])
    assert back.soft is not None
    crop, (y, x) = pixel_crop(back.soft, 0, back.shape)
    pasted = np.zeros_like(plane)
    pasted[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    np.testing.assert_allclose(pasted, plane, atol=1e-6)
    np.testing.assert_array_equal(back.to_label_map() > 0, plane > 0.5)
