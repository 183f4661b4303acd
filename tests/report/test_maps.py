"""Pictures of maps: like vectors have like colours, in one image and from image to image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cytotome.errors import DataError
from cytotome.report.maps import draw_embedding, draw_map, fit_colours, read_colours
from cytotome.types import OutputSpec


def _embedding(labels: np.ndarray, dimensions: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(0).standard_normal((20, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors[labels].transpose(2, 0, 1))


def _mosaic(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 20, (5, 6)).repeat(8, axis=0).repeat(8, axis=1)


def test_a_vector_has_its_colour_in_every_image() -> None:
    first, second = _mosaic(1), _mosaic(2)
    colours = fit_colours([_embedding(first)])
    pictures = [draw_embedding(_embedding(labels), colours) for labels in (first, second)]
    table: dict[int, set[tuple[int, ...]]] = {}
    for labels, picture in zip((first, second), pictures, strict=True):
        for label in np.unique(labels):
            table.setdefault(int(label), set()).update(map(tuple, picture[labels == label].tolist()))
    assert all(len(found) == 1 for found in table.values())
    assert len({next(iter(found)) for found in table.values()}) == len(table)


def test_axes_are_the_principal_components() -> None:
    rng = np.random.default_rng(4)
    spread = np.array([0.1, 3.0, 0.1, 2.0, 1.0])
    planes = (rng.standard_normal((40, 50, 5)) * spread).transpose(2, 0, 1).astype(np.float32)
    colours = fit_colours([planes])
    expected = np.zeros((3, 5))
    expected[0, 1] = expected[1, 3] = expected[2, 4] = 1
    np.testing.assert_allclose(colours.axes, expected, atol=0.06)


def test_cells_alone_decide_and_the_rest_is_dark() -> None:
    planes = np.zeros((4, 30, 40), np.float32)
    rng = np.random.default_rng(0)
    planes[:, :, :20] = rng.standard_normal((4, 30, 20)) * np.array([5, 0, 0, 0])[:, None, None]
    planes[:, :, 20:] = rng.standard_normal((4, 30, 20)) * np.array([0, 0, 1, 0])[:, None, None]
    cell = np.zeros((30, 40), np.float32)
    cell[:, 20:] = 1
    colours = fit_colours([planes], [cell])
    np.testing.assert_allclose(colours.axes[0], [0, 0, 1, 0], atol=1e-6)
    picture = draw_embedding(planes, colours, cell)
    assert picture[:, :20].max() <= 65
    assert picture[:, 20:, 0].max() == 255


def test_colours_are_kept_in_a_file(tmp_path: Path) -> None:
    planes = _embedding(_mosaic(1))
    colours = fit_colours([planes])
    colours.save(tmp_path / "colours.json")
    back = read_colours(tmp_path / "colours.json", 8)
    np.testing.assert_array_equal(draw_embedding(planes, back), draw_embedding(planes, colours))
    with pytest.raises(DataError, match="another size than 5; remove the file"):
        read_colours(tmp_path / "colours.json", 5)
    (tmp_path / "colours.json").write_text("{")
    with pytest.raises(DataError, match=r"cannot be read .* remove the file"):
        read_colours(tmp_path / "colours.json", 8)


def test_other_maps_are_drawn_by_their_kind() -> None:
    grey = draw_map(np.array([[[0.0, 0.5, 2.0]]], np.float32), OutputSpec("cell", 1))
    assert grey[0].tolist() == [[0] * 3, [128] * 3, [255] * 3]
    vectors = np.array([[[0.0, 1.0, 0.0]], [[0.5, 0.0, 0.0]]], np.float32)
    drawn = draw_map(vectors, OutputSpec("flow", 2, "vector"))[0].astype(int)
    assert drawn[2].tolist() == [0, 0, 0]
    assert drawn[0].argmax() == 0
    assert drawn[1].max() > drawn[0].max()
    kinds = draw_map(np.eye(3, dtype=np.float32).reshape(3, 1, 3), OutputSpec("cell_type", 3))[0]
    assert len({tuple(colour) for colour in kinds.tolist()}) == 3
    own = draw_map(_embedding(_mosaic(1)), OutputSpec("embedding", 8, "embedding"))
    assert own.shape == (40, 48, 3)
    flat = draw_map(np.ones((2, 4, 5), np.float32), OutputSpec("embedding", 2, "embedding"))
    assert (flat == flat[0, 0]).all()
