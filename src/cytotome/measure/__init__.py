"""Cells in numbers: the shape and the grey levels of each, and counts of each image."""

from __future__ import annotations

from cytotome.measure.counts import Counts, count_cells
from cytotome.measure.morphology import measure_cells

__all__ = ["Counts", "count_cells", "measure_cells"]
