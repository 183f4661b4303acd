"""Predicted instances as outputs: a file of their arrays, and operations that they do not have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cytotome.errors import ConfigError
from cytotome.ops.soft_masks import from_crops
from cytotome.outputs import Detections
from cytotome.types import Instances


def test_instances_come_back_from_their_arrays() -> None:
    cells = Instances.from_masks(np.ones((2, 3, 4), bool), scores=[0.25, 0.5], class_names=("x", "y"), classes=[1, 0])
    for soft in (None, from_crops([np.full((3, 4), 0.75)] * 2, np.zeros((2, 2)))):
        kind, wanted = Detections(), replace(cells, soft=soft)
        back = kind.from_arrays(kind.to_arrays(wanted))
        assert (back.class_names, back.shape) == (("x", "y"), (3, 4))
        for name in ("runs", "offsets", "scores", "classes", "ids"):
            np.testing.assert_array_equal(getattr(back, name), getattr(cells, name))
        assert (back.soft is None) == (soft is None)
        if soft is not None and back.soft is not None:
            np.testing.assert_array_equal(back.soft.values, soft.values)
            np.testing.assert_array_equal(back.soft.boxes, soft.boxes)


def test_they_have_neither_mean_nor_difference() -> None:
    cells = Instances.from_masks(np.ones((2, 3, 4), bool))
    assert Detections().mean([cells], [1.0]) is cells
    with pytest.raises(ConfigError, match="these models predict instances without maps; fuse instances"):
        Detections().mean([cells, cells], [1.0, 1.0])
    with pytest.raises(ConfigError, match="predicts instances without maps"):
        Detections().difference([cells], [cells])
