"""What networks give: :class:`Dense` maps or :class:`Detections`, with all that is done with it before a decoder.

A family declares one of the two; tiles, views, resizing, averaging and files follow from it, so that no engine asks
which one it is.
"""

from cytotome.outputs.dense import Dense
from cytotome.outputs.detections import Detections

__all__ = ["Dense", "Detections"]
