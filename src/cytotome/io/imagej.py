"""ImageJ's ROI sets (``.zip``), read and written with roifile: one ROI per cell, along pixel edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from roifile import ROI_TYPE, ImagejRoi, roiread, roiwrite

from cytotome.errors import DataError, one_line
from cytotome.io.polygons import Outline, cell_rings, from_outlines
from cytotome.types import AnyArray, Image, Instances

AREAS = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED, ROI_TYPE.RECT, ROI_TYPE.OVAL)
"""Types of ROIs with an area."""
MOVE, LINE, CLOSE = 0.0, 1.0, 4.0
"""Commands of a composite ROI's path."""


def write_rois(path: Path, image: Image, cells: Instances) -> None:
    """Writes the cells of one image for ImageJ's ROI manager.

    A cell with holes or several parts is a composite ROI; overlaps are kept. The name of a ROI is the number of its
    cell; class and score are among its properties. Empty instances are left out.
    """
    roiwrite(path, [_roi(cells, index, parts) for index, parts in cell_rings(cells)], mode="w")


def _roi(cells: Instances, index: int, parts: list[list[AnyArray]]) -> ImagejRoi:
    rings = [ring for part in parts for ring in part]
    name, label = str(int(cells.ids[index])), int(cells.classes[index])
    if len(rings) == 1:
        roi = ImagejRoi.frompoints(rings[0].astype(np.int32), name=name)
        roi.roitype = ROI_TYPE.TRACED
    else:
        roi = ImagejRoi(roitype=ROI_TYPE.RECT, name=name)
        roi.multi_coordinates = np.concatenate([_path(ring) for ring in rings]).astype(np.float32)
        roi.shape_roi_size = len(roi.multi_coordinates)
    corners = np.concatenate(rings)
    roi.left, roi.top = (int(value) for value in corners.min(axis=0))
    roi.right, roi.bottom = (int(value) for value in corners.max(axis=0))
    kind = f"class: {cells.class_names[label]}\n" if label >= 0 else ""
    roi.props = f"{kind}score: {float(cells.scores[index]):.4f}\n"
    return roi


def _path(ring: AnyArray) -> AnyArray:
    """A ring as a flat list of path commands."""
    commands = np.full((len(ring), 3), LINE)
    commands[0, 0] = MOVE
    commands[:, 1:] = ring
    return np.append(commands.ravel(), CLOSE)


def read_rois(path: Path, shape: tuple[int, int]) -> Instances:
    """Reads the ROIs of a file with an area as instances; lines, angles and points are left out.

    Args:
        path: a ROI set (``.zip``) or one ROI (``.roi``).
        shape: ``(H, W)`` of the image; pixels outside are cut off.

    Returns:
        Instances with the names as ids if all are different numbers, else 1 to N, and with the classes and scores of
        :func:`write_rois`, by default unknown and 1.

    Raises:
        DataError: if the file cannot be read as ROIs.
    """
    try:
        found = roiread(path)
        rois = [found] if isinstance(found, ImagejRoi) else found
        outlines = [_outline(roi) for roi in rois if roi.roitype in AREAS]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except Exception as error:  # roifile raises errors of many types for damaged files
        raise DataError(f"{path}: not a set of ImageJ's ROIs ({one_line(error)}); save it again") from error
    return from_outlines(outlines, shape)


def _outline(roi: ImagejRoi) -> Outline:
    properties = dict(line.split(": ", 1) for line in roi.props.splitlines() if ": " in line)
    rings = [np.asarray(ring, np.float64) for ring in roi.coordinates(multi=True) if len(ring)]
    return Outline([rings], roi.name, properties.get("class", ""), _score(properties.get("score", "")))


def _score(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 1.0
