"""Cells in the formats of other tools: what is written is valid, and gives the same cells when it is read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from roifile import ROI_TYPE, ImagejRoi, roiread, roiwrite
from shapely import MultiPolygon, Polygon
from shapely.geometry import shape as geometry

from cytotome.datasets import open_dataset
from cytotome.errors import DataError
from cytotome.io.exports import bundled_exports, load_export
from cytotome.io.geojson import read_geojson
from cytotome.io.imagej import read_rois
from cytotome.io.polygons import simple_rings
from cytotome.types import Image, Instances

SHORT_ROI = ImagejRoi.frompoints(np.zeros((40, 2), np.int32)).tobytes()[:100]
READERS: dict[str, Callable[[Path, tuple[int, int]], Instances]] = {"geojson": read_geojson, "imagej": read_rois}


def picture(cells: Instances) -> Image:
    """An image of the size of the cells."""
    return Image(np.zeros(cells.shape, np.uint8), source="plate/a.png")


@pytest.fixture
def cells() -> Instances:
    """A cell with a hole that touches its outline at a corner, one of two parts, and one that overlaps both."""
    masks = np.zeros((3, 8, 9), bool)
    masks[0, 1:5, 1:5] = True
    masks[0, 2, 2] = masks[0, 1, 1] = False
    masks[1, 6:8, 0:2] = masks[1, 6:8, 4:9] = True
    masks[2, 3:7, 3:6] = True
    return Instances.from_masks(
        masks, scores=[0.25, 1, 0.5678], classes=[1, -1, 0], ids=[7, 3, 12], class_names=("cort", "astro")
    )


def same(found: Instances, cells: Instances) -> None:
    """Masks, ids, scores and names of the classes are those of the cells."""
    assert found.shape == cells.shape
    np.testing.assert_array_equal(found.runs, cells.runs)
    np.testing.assert_array_equal(found.offsets, cells.offsets)
    np.testing.assert_array_equal(found.ids, cells.ids)
    np.testing.assert_allclose(found.scores, cells.scores, atol=5e-5)
    names = [[one.class_names[label] if label >= 0 else "" for label in one.classes] for one in (found, cells)]
    assert names[0] == names[1]


@pytest.mark.parametrize("name", READERS)
def test_holes_parts_overlaps_scores_and_classes_come_back(name: str, cells: Instances, tmp_path: Path) -> None:
    path = tmp_path / f"a{load_export(name).ending}"
    load_export(name).write(path, picture(cells), cells)
    same(READERS[name](path, cells.shape), cells)


@pytest.mark.parametrize("name", READERS)
def test_real_masks_come_back(name: str, real_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(real_data / "sartorius")
    path = tmp_path / f"a{load_export(name).ending}"
    for index in range(0, len(dataset), 16):
        cells = dataset.instances(index)
        if cells is not None:
            load_export(name).write(path, picture(cells), cells)
            same(READERS[name](path, cells.shape), cells)


@settings(max_examples=200, deadline=None)
@given(arrays(bool, (1, 7, 8), elements=st.booleans()))
def test_rings_of_any_mask_are_valid_and_cover_it(masks: np.ndarray) -> None:
    parts = [Polygon(rings[0], rings[1:]) for rings in simple_rings(Instances.from_masks(masks), 0)]
    assert all(part.is_valid for part in parts)
    assert sum(part.area for part in parts) == masks.sum()
    assert MultiPolygon(parts).area == masks.sum()


def test_geojson_is_what_qupath_reads(cells: Instances, tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    load_export("geojson").write(path, picture(cells), cells)
    content = json.loads(path.read_text())
    assert content["type"] == "FeatureCollection"
    first, second, third = content["features"]
    assert len({first["id"], second["id"], third["id"]}) == 3
    assert all(geometry(one["geometry"]).is_valid for one in content["features"])
    assert [geometry(one["geometry"]).area for one in content["features"]] == cells.areas.tolist()
    assert (first["geometry"]["type"], second["geometry"]["type"]) == ("Polygon", "MultiPolygon")
    assert first["properties"]["classification"]["name"] == "astro"
    assert "classification" not in second["properties"]
    assert third["properties"]["measurements"] == {"score": 0.5678, "area px^2": 12}


def test_rois_are_what_imagej_reads(cells: Instances, tmp_path: Path) -> None:
    path = tmp_path / "a_rois.zip"
    load_export("imagej").write(path, picture(cells), cells)
    rois = roiread(path)
    assert isinstance(rois, list)
    assert [roi.name for roi in rois] == ["7", "3", "12"]
    assert [(roi.roitype, roi.composite) for roi in rois] == [
        (ROI_TYPE.RECT, True),
        (ROI_TYPE.RECT, True),
        (ROI_TYPE.TRACED, False),
    ]
    assert [(roi.left, roi.top, roi.right, roi.bottom) for roi in rois] == [(1, 1, 5, 5), (0, 6, 9, 8), (3, 3, 6, 7)]


def test_a_line_of_yolo_is_the_class_and_the_outline(tmp_path: Path) -> None:
    masks = np.zeros((1, 4, 8), bool)
    masks[0, 1:3, 2:6] = True
    path = tmp_path / "a.txt"
    cells = Instances.from_masks(masks, classes=[-1], class_names=("cort", "astro"))
    load_export("yolo").write(path, picture(cells), cells)
    number, *values = path.read_text().split()
    assert number == "2"
    assert sorted(zip(values[::2], values[1::2], strict=True)) == sorted(
        [("0.250000", "0.250000"), ("0.750000", "0.250000"), ("0.750000", "0.750000"), ("0.250000", "0.750000")]
    )


@pytest.mark.parametrize("name", bundled_exports())
def test_an_image_without_cells_gives_an_empty_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{load_export(name).ending}"
    cells = Instances.empty((5, 6))
    load_export(name).write(path, picture(cells), cells)
    assert path.is_file()
    if name in READERS:
        assert len(READERS[name](path, (5, 6))) == 0


def test_shapes_that_were_drawn_by_hand_are_read(tmp_path: Path) -> None:
    box = ImagejRoi(roitype=ROI_TYPE.RECT, left=2, top=1, right=5, bottom=3, name="soma")
    line = ImagejRoi(roitype=ROI_TYPE.LINE, name="scale")
    roiwrite(tmp_path / "drawn.zip", [box, line])
    found = read_rois(tmp_path / "drawn.zip", (4, 8))
    assert found.boxes.tolist() == [[1, 2, 3, 5]]
    assert found.ids.tolist() == [1]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[[2, 1], [5, 1], [5, 3], [2, 3], [2, 1]]]},
        "properties": {"classification": {"names": ["Tumor"]}, "measurements": [{"name": "score", "value": 0.5}]},
    }
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}}
    (tmp_path / "drawn.geojson").write_text(json.dumps([feature, point]))
    found = read_geojson(tmp_path / "drawn.geojson", (4, 8))
    assert found.boxes.tolist() == [[1, 2, 3, 5]]
    assert (found.class_names, found.scores.tolist()) == (("Tumor",), [0.5])


def test_properties_of_other_programs_are_left_out(tmp_path: Path) -> None:
    square = {"type": "Polygon", "coordinates": [[[2, 1], [5, 1], [5, 3], [2, 3]]]}
    odd = [
        {"geometry": square, "properties": [1]},
        {"geometry": square, "properties": {"classification": {"names": [7]}, "measurements": 3}},
        {"geometry": square, "properties": {"classification": 4, "measurements": [{"name": [], "value": 0.5}]}},
        {"geometry": "none"},
    ]
    (tmp_path / "a.geojson").write_text(json.dumps(odd))
    found = read_geojson(tmp_path / "a.geojson", (4, 8))
    assert found.boxes.tolist() == [[1, 2, 3, 5]] * 3
    assert (found.class_names, found.classes.tolist(), found.scores.tolist()) == (("7", "4"), [-1, 0, 1], [1, 1, 1])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("geojson", b"{", "not valid JSON"),
        ("geojson", b"3", "not GeoJSON; expected a FeatureCollection"),
        (
            "geojson",
            b'[{"geometry": {"type": "Polygon", "coordinates": [[[1, 2]]]}}]',
            "feature 0 has damaged coordinates",
        ),
        ("imagej", b"no zip", "not a set of ImageJ's ROIs"),
        ("imagej", SHORT_ROI, "not a set of ImageJ's ROIs"),
    ],
)
def test_damaged_files_are_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.geojson" if name == "geojson" else "a.roi" if content == SHORT_ROI else "a.zip")
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path.name}: {message}"):
        READERS[name](path, (4, 4))
    with pytest.raises(DataError, match="cannot be read"):
        READERS[name](tmp_path / "missing.zip", (4, 4))
