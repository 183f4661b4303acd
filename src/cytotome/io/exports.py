"""Additional formats in which the cells of an image can be written; other packages can add their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cytotome.errors import DataError, one_line
from cytotome.plugins import EXPORTS, load_plugin
from cytotome.types import Image, Instances


@dataclass(frozen=True)
class Export:
    """An export format.

    Attributes:
        ending: ending of the file names, appended to the stem of the image's name, such as ``_rois.zip``.
        write: ``write(path, image, cells)`` writes one file. The path is temporary, with the suffix of ``ending``; the
            file is renamed once it is complete.
    """

    ending: str
    write: Callable[[Path, Image, Instances], None]


def write_export(name: str, export: Export, path: Path, image: Image, cells: Instances) -> None:
    """Writes the cells of one image.

    Raises:
        DataError: if anything fails, with the format in the message.
    """
    try:
        export.write(path, image, cells)
    except Exception as error:
        raise DataError(f"{image.source}: the export {name!r} failed ({one_line(error)})") from error
    if not path.is_file():
        raise DataError(f"{image.source}: the export {name!r} wrote no file; it must write the path it is given")


def load_export(name: str) -> Export:
    """Returns the export format of this package, or of an installed plugin.

    Raises:
        ConfigError: if there is none of this name, or the plugin cannot be loaded.
    """
    found = bundled_exports().get(name)
    return found if found is not None else load_plugin(EXPORTS, name, Export)


def bundled_exports() -> dict[str, Export]:
    """The export formats of this package, by name."""
    from cytotome.io.geojson import write_geojson
    from cytotome.io.imagej import write_rois
    from cytotome.io.yolo import write_yolo

    return {
        "geojson": Export("_cells.geojson", write_geojson),
        "imagej": Export("_rois.zip", write_rois),
        "yolo": Export(".txt", write_yolo),
    }
