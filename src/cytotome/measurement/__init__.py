"""Cells in numbers: the shape and the intensities of each, and counts of each image."""

from __future__ import annotations

from cytotome.measurement.counts import Counts, count_cells
from cytotome.measurement.morphology import measure_cells

__all__ = ["Counts", "count_cells", "measure_cells"]
