from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cytotome.ops.transpose import transpose
from cytotome.types import Instances

stacks = st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays.arrays(bool, shape)
)


@given(stacks)
def test_runs_are_those_of_the_transposed_masks(stack):
    turned = transpose(Instances.from_masks(stack, shape=stack.shape[1:]))
    expected = Instances.from_masks(stack.transpose(0, 2, 1), shape=stack.shape[:0:-1])
    assert turned.shape == expected.shape
    np.testing.assert_array_equal(turned.runs, expected.runs)
    np.testing.assert_array_equal(turned.offsets, expected.offsets)


def test_many_more_runs_one_way_than_the_other():
    comb = np.zeros((1, 200, 200), bool)
    comb[0, :, ::2] = True
    long = Instances.from_masks(comb.transpose(0, 2, 1))
    assert len(long.runs) == 100
    np.testing.assert_array_equal(transpose(long).runs, Instances.from_masks(comb).runs)


def test_attributes_stay():
    instances = Instances.from_masks(
        np.ones((2, 1, 3), bool), scores=[0.2, 0.9], classes=[1, 0], ids=[5, 3], class_names="ab"
    )
    turned = transpose(instances)
    assert turned.scores.tolist() == instances.scores.tolist()
    assert (turned.classes.tolist(), turned.ids.tolist(), turned.class_names) == ([1, 0], [5, 3], ("a", "b"))
