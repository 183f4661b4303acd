"""Pictures for checking segmentations."""

from __future__ import annotations

from cytotome.report.overlay import draw_overlay, write_overlay

__all__ = ["draw_overlay", "write_overlay"]
