"""Parameters of the decoder of foreground and border maps (see :mod:`cytotome.families.unetr.decode`)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from cytotome.contract import DecodeParameters


class ForegroundParameters(DecodeParameters):
    """How instances are made of foreground and border maps; areas are in pixels of the image.

    Attributes:
        threshold: pixels of a higher foreground probability belong to a cell.
        border_threshold: pixels of a higher border probability part cells.
        min_seed: parts of a cell's inside with fewer pixels make no cell of their own beside a larger part.
        score_weights: logistic weights of the features that :func:`~cytotome.families.unetr.decode.features` names.
    """

    threshold: float = Field(default=0.5, ge=0, le=1)
    border_threshold: float = Field(default=0.5, ge=0, le=1)
    min_seed: int = Field(default=12, ge=1)
    score_weights: tuple[float, ...] = (6.0, -2.0, 0.0, -2.5)

    search: ClassVar[dict[str, tuple[float, ...]]] = {
        "threshold": (0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8),
        "border_threshold": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
        "min_seed": (3, 6, 12, 20, 30),
        "min_score": (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6),
        "min_area": (15, 30, 45, 60, 80, 100, 130, 160),
    }
