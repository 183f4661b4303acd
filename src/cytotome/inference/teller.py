"""One-time warnings for Python users if images are of another kind than the model knows."""

from __future__ import annotations

import logging
from collections.abc import Callable

from cytotome.types import Image, Instances

LOGGER = logging.getLogger("cytotome")


class Teller:
    """Passes on the cells of each image, and logs the first image of each kind that the model does not know.

    Args:
        note: returns one line for an image of another kind than the model knows, else empty, see
            :meth:`Segmenter.note`.
    """

    def __init__(self, note: Callable[[Image, Instances], str]) -> None:
        self.note = note
        self.told: set[str] = set()

    def __call__(self, image: Image, cells: Instances) -> Instances:
        """Returns the cells, unchanged; notes go to the logger ``cytotome``, which Python prints to standard error."""
        note = self.note(image, cells)
        if note and note not in self.told:
            self.told.add(note)
            LOGGER.warning("%s: %s", image.source, note)
        return cells
