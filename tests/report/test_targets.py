"""Pictures of targets: what is drawn in which colours."""

from __future__ import annotations

import numpy as np

from cytotome.report.maps import draw_map
from cytotome.report.targets import draw_classes, draw_levels, draw_target
from cytotome.types import OutputSpec


def test_each_class_has_a_colour_and_nothing_is_black() -> None:
    for least in (-1, 0):
        picture = draw_target("type", np.arange(least, least + 4).reshape(1, 1, 4), {})
        assert picture.shape == (1, 4, 3)
        assert (picture[0, 0] == 0).all()
        assert len(np.unique(picture[0], axis=0)) == 4


def test_levels_grow_brighter() -> None:
    picture = draw_levels(np.arange(17)[None])[0].astype(int)
    brightness = picture @ [299, 587, 114]
    assert (picture[0] == 0).all()
    assert (np.diff(brightness) > 0).all()


def test_few_numbers_are_classes_more_are_levels_and_the_rest_are_maps() -> None:
    few, many = np.arange(4).reshape(1, 2, 2), np.arange(9).reshape(1, 3, 3)
    np.testing.assert_array_equal(draw_target("a", few, {}), draw_classes(few[0]))
    np.testing.assert_array_equal(draw_target("a", many, {}), draw_levels(many[0]))
    vectors = np.array([[[0.0, 1.0]], [[1.0, 0.0]]], np.float32)
    spec = OutputSpec("way", 2, "vector")
    np.testing.assert_array_equal(draw_target("way", vectors, {"way": spec}), draw_map(vectors, spec))
    assert not np.array_equal(draw_target("way", vectors, {}), draw_map(vectors, spec))


def test_opposite_directions_have_opposite_colours() -> None:
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    vectors = np.stack([np.sin(angles), np.cos(angles)]).astype(np.float32)[:, None]
    colours = draw_target("d", vectors, {"d": OutputSpec("d", 2, "vector")})[0].astype(int)
    assert len(np.unique(colours, axis=0)) == 8
    np.testing.assert_allclose(colours[:4] + colours[4:], 255, atol=2)
