"""Neuron-like phase-contrast images with exact overlapping masks: for the demo and the tests."""

from __future__ import annotations

from cytotome.datasets.synthetic.dataset import SyntheticDataset
from cytotome.datasets.synthetic.kinds import KINDS, Kind

__all__ = ["KINDS", "Kind", "SyntheticDataset"]
