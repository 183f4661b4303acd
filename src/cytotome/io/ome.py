"""OME-XML: references to other files, and pixel sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from cytotome.io.raster import Scale, scale_of

Element = ElementTree.Element


def names_other_files(text: str, name: str) -> bool:
    """Whether planes of the image are in files other than the one of this name.

    This is the case if an acquisition program writes a series of files, each of which describes all. A renamed file is
    recognised by its identifier, if it has one.
    """
    root = _parse(text)
    return root is not None and any(not _is_own(uuid, root, name) for uuid in _all(root, "UUID"))


def ome_scale(text: str, path: Path, index: int) -> Scale:
    """Returns the scale of an image of a file.

    Args:
        text: OME-XML of the file, which may refer to another file with the description.
        path: the file.
        index: index of the image within the file.
    """
    root = _parse(text)
    described = None if root is None else _described(root, path.parent)
    if root is None or described is None:
        return Scale()
    pixels = list(_all(described, "Pixels"))
    own = [
        node
        for node in pixels
        if any(_is_own(uuid, root, path.name) for uuid in _all(node, "UUID")) or next(_all(node, "UUID"), None) is None
    ]
    chosen = own or pixels
    if not chosen:
        return Scale()
    return _pixel_scale(chosen[index if index < len(chosen) else 0].attrib)


def _pixel_scale(attributes: dict[str, str]) -> Scale:
    try:
        across = float(attributes["PhysicalSizeX"])
        down = float(attributes.get("PhysicalSizeY", across))
    except (KeyError, ValueError):
        return Scale()
    unit = attributes.get("PhysicalSizeXUnit", "µm")
    other = attributes.get("PhysicalSizeYUnit", "µm") if "PhysicalSizeY" in attributes else unit
    return scale_of(across, down, unit, other)


def _parse(text: str) -> Element | None:
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None


def _all(root: Element, name: str) -> Iterator[Element]:
    return (node for node in root.iter() if node.tag.rpartition("}")[2] == name)


def _is_own(uuid: Element, root: Element, name: str) -> bool:
    own = root.attrib.get("UUID")
    if own is not None and uuid.text is not None:
        return uuid.text.strip() == own
    return uuid.attrib.get("FileName", name).lower() == name.lower()


def _described(root: Element, folder: Path) -> Element | None:
    """The root of the description, from the file named by a BinaryOnly element if there is one; None if it cannot be
    read.
    """
    binary = next(_all(root, "BinaryOnly"), None)
    if binary is None:
        return root
    path = folder / Path(binary.attrib.get("MetadataFile", "")).name
    try:
        if path.suffix.lower() in (".tif", ".tiff", ".btf", ".tf8", ".tf2"):
            with tifffile.TiffFile(path) as file:
                return _parse(file.ome_metadata or "")
        return _parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, tifffile.TiffFileError):
        return None
