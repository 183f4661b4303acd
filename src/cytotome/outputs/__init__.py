"""Kinds of network outputs: :class:`Dense` maps or :class:`Detections`, with all operations before the decoder.

A family declares one of them, which implements tiles, views, resizing, averaging and files; engines treat both alike.
"""

from cytotome.outputs.dense import Dense
from cytotome.outputs.detections import Detections

__all__ = ["Dense", "Detections"]
