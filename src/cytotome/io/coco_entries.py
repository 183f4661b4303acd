"""Annotations as written by various tools: normalised and grouped by image; unusable ones are noted or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from cytotome.errors import DataError
from cytotome.io.rle import from_coco_rle, whole_number
from cytotome.types import Note

ImageId: TypeAlias = int | str
Entry: TypeAlias = Mapping[str, Any]
Grouped: TypeAlias = dict[ImageId, list[Entry]]

SHORT = 8
"""Maximum number of characters of the compressed run lengths of an empty mask."""


def group_by_image(entries: Sequence[dict[str, Any]], ids: Sequence[ImageId] | None, source: str) -> Grouped:
    """Groups annotations by image id, and normalises numbers and flags.

    An image id given as text matches the equal number, and vice versa.

    Args:
        entries: changed in place.
        ids: unique ids of the images; if None, the ids that occur. Annotations of other images are grouped by their own
            id.
        source: path, used in messages.

    Raises:
        DataError: if a field is invalid, or no annotation belongs to an image.
    """
    known = {_id_text(number): number for number in ids or ()}
    grouped: Grouped = {}
    for entry in entries:
        _convert(entry, source)
        text = _id_text(entry["image_id"])
        entry["image_id"] = known.setdefault(text, entry["image_id"]) if ids is None else known.get(text, text)
        grouped.setdefault(entry["image_id"], []).append(entry)
    if ids and grouped and not set(grouped) & set(ids):
        raise DataError(
            f"{source}: none of its {len(entries)} annotations belongs to a known image: image_id "
            f"{next(iter(grouped))}, the images have {', '.join(map(str, ids[:3]))}; export both again"
        )
    return grouped


def check_unique_ids(named: Iterable[tuple[object, str]], what: str, source: str) -> None:
    """Raises DataError if two images or two categories have the same id; 1 and ``"1"`` are the same."""
    first: dict[str, str] = {}
    for number, name in named:
        text = _id_text(number)
        if text in first:
            raise DataError(
                f"{source}: the {what} id {text} is given twice, to {first[text]!r} and {name!r}; give each its own"
            )
        first[text] = name


def accept_crowds(grouped: Grouped, names: Mapping[ImageId, str]) -> tuple[Note, ...]:
    """Returns a note of the regions marked ``iscrowd``; if all annotations are marked, the marks are removed.

    Brush tools of annotation programs mark every mask they draw. If there are also unmarked masks, the mark has its
    meaning in COCO: a region that is neither cell nor background.
    """
    entries = [entry for found in grouped.values() for entry in found]
    crowds = [entry for entry in entries if entry.get("iscrowd", 0)]
    if not crowds:
        return ()
    if len(crowds) < len(entries):
        return (_noted("regions marked iscrowd are ignored", crowds, names, "if they are cells, set iscrowd to 0"),)
    for found in grouped.values():
        found[:] = [{**entry, "iscrowd": 0} for entry in found]
    return (_noted("masks, all of the file, are marked iscrowd; they are treated as cells", crowds, names),)


def notes_of(
    grouped: Grouped,
    names: Mapping[ImageId, str],
    shapes: Mapping[ImageId, tuple[int, int]],
    categories: Sequence[int],
    source: str,
) -> tuple[Note, ...]:
    """Returns notes of annotations that cannot be used, or only in part.

    Args:
        grouped: annotations as returned by :func:`group_by_image`.
        names, shapes: names and shapes of the images.
        categories: ids of the categories in the file.

        source: path, used in messages.

    Raises:
        DataError: if all annotations of an image are empty.
    """
    entries = [entry for number, found in grouped.items() if number in names for entry in found]
    strange = [entry for number, found in grouped.items() if number not in names for entry in found]
    empty = [entry for entry in entries if _is_empty(entry, shapes[entry["image_id"]])]
    if entries and len(empty) == len(entries):
        raise DataError(
            f"{source}: none of its {len(entries)} annotations holds a pixel; boxes alone are not enough, export masks "
            "or polygons"
        )
    nameless = [entry for entry in entries if categories and entry.get("category_id", 0) not in {0, *categories}]
    kinds = ", ".join(sorted({str(entry["category_id"]) for entry in nameless}))
    found = (
        (strange, "annotations are of images that the file does not have, and not used", "add the images"),
        (empty, "annotations hold no pixel and are not used", "draw them again or remove them"),
        (nameless, f"annotations have no class: category_id {kinds} is not in the file", "add the categories"),
    )
    return tuple(_noted(what, chosen, names, remedy) for chosen, what, remedy in found if chosen)


def _noted(what: str, entries: Sequence[Entry], names: Mapping[ImageId, str], remedy: str = "") -> Note:
    counts = Counter(names.get(entry["image_id"], f"image_id {entry['image_id']}") for entry in entries)
    return Note(
        f"{len(entries)} {what}; images", tuple(f"{name} ({number})" for name, number in counts.items()), remedy
    )


def _is_empty(entry: Entry, shape: tuple[int, int]) -> bool:
    """Whether the annotation is clearly empty, without drawing the mask; damage is reported when it is read."""
    segmentation: Any = entry.get("segmentation")
    if isinstance(segmentation, list):
        return all(_is_outside(part, shape) for part in segmentation)
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    if len(counts) > SHORT if isinstance(counts, str) else not isinstance(counts, list) or any(counts[1::2]):
        return False
    try:
        return len(from_coco_rle([segmentation], shape).runs) == 0
    except DataError:
        return False


def _is_outside(part: Any, shape: tuple[int, int]) -> bool:
    """Whether a polygon has fewer than three corners or lies outside the image."""
    if not isinstance(part, list) or len(part) % 2:
        return False
    if len(part) < 6:
        return True
    try:
        across, down = part[::2], part[1::2]
        return bool(max(across) <= 0 or max(down) <= 0 or min(across) >= shape[1] or min(down) >= shape[0])
    except TypeError:
        return False


def _id_text(number: object) -> str:
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def _convert(entry: dict[str, Any], source: str) -> None:
    """Converts an annotation's category and flag, if present, to integers and its score to a number in [0, 1].

    Raises:
        DataError: if a value cannot be converted.
    """
    for name, (convert, wanted) in _FIELDS.items():
        try:
            if name in entry:
                entry[name] = convert(entry[name])
        except (TypeError, ValueError, OverflowError):
            raise DataError(
                f"{source}: image {entry['image_id']!r}: {name} must be {wanted}, got {entry[name]!r}; export it again"
            ) from None


def _share(value: Any) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{number} is not in [0, 1]")
    return number


def _flag(value: Any) -> int:
    number = whole_number(value)
    if number not in (0, 1):
        raise ValueError(f"{number} is neither 0 nor 1")
    return number


_FIELDS: dict[str, tuple[Callable[[Any], float], str]] = {
    "category_id": (whole_number, "a whole number"),
    "score": (_share, "a number from 0 to 1"),
    "iscrowd": (_flag, "0 or 1"),
}
