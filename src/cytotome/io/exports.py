"""Formats in which the cells of an image are written beside the label map; other packages add theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cytotome.errors import DataError, one_line
from cytotome.plugins import EXPORTS, load_plugin
from cytotome.types import Image, Instances


@dataclass(frozen=True)
class Export:
    """One format.

    Attributes:
        ending: of the files, appended to the stem of the image's name, such as ``_rois.zip``.
        write: ``write(path, image, cells)`` writes one file. The path is temporary, with the suffix of ``ending``; the
            file gets its name once it is complete.
    """

    ending: str
    write: Callable[[Path, Image, Instances], None]


def write_export(name: str, export: Export, path: Path, image: Image, cells: Instances) -> None:
    """Writes one image.

    Raises:
        DataError: in one line that names the format, whatever goes wrong.
    """
    try:
        export.write(path, image, cells)
    except Exception as error:
        raise DataError(f"{image.source}: the export {name!r} failed ({one_line(error)})") from error
    if not path.is_file():
        raise DataError(f"{image.source}: the export {name!r} wrote no file; it must write the path it is given")


def load_export(name: str) -> Export:
    """The export of an installed package.

    Raises:
        ConfigError: if there is none, or it cannot be loaded.
    """
    return load_plugin(EXPORTS, name, Export)
