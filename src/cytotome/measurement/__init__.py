"""Measurements: shape and grey levels of each cell, and cell counts of each image."""

from __future__ import annotations

from cytotome.measurement.counts import Counts, count_cells
from cytotome.measurement.morphology import measure_cells

__all__ = ["Counts", "count_cells", "measure_cells"]
