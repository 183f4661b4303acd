"""GeoJSON in the form of QuPath: one feature per cell, with polygons along pixel edges.

Coordinates are x, y in pixels; the centre of the first pixel is at 0.5, 0.5.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cytotome.errors import DataError, one_line
from cytotome.io.polygons import Outline, cell_rings, from_outlines
from cytotome.ops.pictures import cell_colours
from cytotome.types import AnyArray, Image, Instances

NAMESPACE = uuid.UUID("5f7c1b1e-6a0e-5f0c-9d57-3b1f6d0d8a11")
"""Namespace of the ids of features, which are derived from the image's name and the number of the cell."""


def write_geojson(path: Path, image: Image, cells: Instances) -> None:
    """Writes the cells of one image as annotations that QuPath can display and edit.

    A cell of several parts is a MultiPolygon; holes and overlaps are kept. The name is the number of the cell; class,
    score and area in pixels are included. Empty instances are left out.
    """
    areas = cells.areas.tolist()
    features = [_feature(image, cells, index, parts, areas[index]) for index, parts in cell_rings(cells)]
    text = json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")


def _feature(image: Image, cells: Instances, index: int, parts: list[list[AnyArray]], area: int) -> dict[str, Any]:
    closed = [[[*ring.tolist(), ring[0].tolist()] for ring in rings] for rings in parts]
    geometry = (
        {"type": "Polygon", "coordinates": closed[0]}
        if len(closed) == 1
        else {"type": "MultiPolygon", "coordinates": closed}
    )
    label, number = int(cells.classes[index]), int(cells.ids[index])
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": str(number),
        "measurements": {"score": round(float(cells.scores[index]), 4), "area px^2": area},
    }
    if label >= 0:
        colour = cell_colours(np.array([label + 1]))[0].tolist()
        properties["classification"] = {"name": cells.class_names[label], "color": colour}
    name = str(uuid.uuid5(NAMESPACE, f"{image.source}/{number}"))
    return {"type": "Feature", "id": name, "geometry": geometry, "properties": properties}


def read_geojson(path: Path, shape: tuple[int, int]) -> Instances:
    """Reads the polygons of a file as instances; lines and points are left out.

    Args:
        path: a FeatureCollection, one feature or a list of features, as QuPath exports them.
        shape: ``(H, W)`` of the image; pixels outside are cut off.

    Returns:
        Instances with the names as ids if all are different numbers, else 1 to N. Classes are in the order of their
        first cell. Scores are the measurement ``score``, 1 if there is none.

    Raises:
        DataError: if the file is not GeoJSON, or a polygon is damaged.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({one_line(error)}); export it again") from error
    if isinstance(content, Mapping):
        content = content.get("features", [content])
    if not isinstance(content, Sequence) or not all(isinstance(one, Mapping) for one in content):
        raise DataError(f"{path}: not GeoJSON; expected a FeatureCollection, as QuPath exports it")
    outlines = []
    for place, feature in enumerate(content):
        try:
            outlines += _outlines(feature)
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise DataError(f"{path}: feature {place} has damaged coordinates; export it again") from error
    return from_outlines(outlines, shape)


def _outlines(feature: Mapping[str, Any]) -> list[Outline]:
    """The outline of a feature; none for geometries without an area."""
    parts = _parts(_mapping(feature.get("geometry")))
    properties = _mapping(feature.get("properties"))
    return [Outline(parts, str(properties.get("name", "")), _class(properties), _score(properties))] if parts else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _parts(geometry: Mapping[str, Any]) -> list[list[AnyArray]]:
    """Rings ``(K, 2)`` of each polygon; none for geometries without an area."""
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon"):
        return []
    polygons: Sequence[Any] = [coordinates] if kind == "Polygon" else coordinates or []
    parts = [[np.asarray(ring, np.float64)[:, :2] for ring in rings] for rings in polygons]
    if any(len(ring) < 3 for rings in parts for ring in rings):
        raise ValueError("a ring needs three corners")
    return [rings for rings in parts if rings]


def _class(properties: Mapping[str, Any]) -> str:
    found = properties.get("classification")
    name = found.get("name") or " ".join(map(str, found.get("names") or ())) if isinstance(found, Mapping) else found
    return str(name or "")


def _score(properties: Mapping[str, Any]) -> float:
    found = properties.get("measurements")
    if isinstance(found, list):  # QuPath before 0.4 wrote a list of names and values
        found = {one.get("name"): one.get("value") for one in map(_mapping, found) if isinstance(one.get("name"), str)}
    score = _mapping(found).get("score", 1.0)
    return float(score) if isinstance(score, int | float) else 1.0
