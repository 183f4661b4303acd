"""Dataset layouts, one file each, opened with :func:`open_dataset`."""

from __future__ import annotations

from cytotome.datasets.combine import CombinedDataset, combine
from cytotome.datasets.layouts import Layout, layouts, open_dataset
from cytotome.datasets.splits import of_fold, splits
from cytotome.datasets.summary import Summary, summary

__all__ = ["CombinedDataset", "Layout", "Summary", "combine", "layouts", "of_fold", "open_dataset", "splits", "summary"]
