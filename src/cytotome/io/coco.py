"""COCO files: images, categories and masks, read lazily; ground truth and results, written atomically."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cytotome.errors import DataError, one_line
from cytotome.io.coco_entries import Grouped, ImageId, accept_crowds, check_unique_ids, group_by_image, notes_of
from cytotome.io.files import atomic_path
from cytotome.io.polygons import polygon_rles, to_polygons
from cytotome.io.raster import MAX_PIXELS
from cytotome.io.rle import CocoRle, from_coco_rle, to_coco_rle, whole_number
from cytotome.types import BoolArray, Instances, Note

UNKNOWN_CATEGORY = 0


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One entry of ``images``.

    Attributes:
        id: id in the file.
        file_name: name in the file, empty in a results file.
        shape: ``(H, W)``.
        cell_type, mask_quality: as in :class:`cytotome.types.SampleInfo`; fields specific to cytotome, empty if not
            given.
    """

    id: ImageId
    file_name: str
    shape: tuple[int, int]
    cell_type: str = ""
    mask_quality: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CocoFile:
    """A COCO file with masks that are still encoded.

    Attributes:
        images: images in the order of the file.
        class_names: names of the categories, by increasing category id.
        category_ids: category id of each class.
        source: path, used in messages.
        annotations: annotations of each image, as in the file; categories and flags are integers, scores in [0, 1].
        notes: remarks on parts of the file that are not used or were modified when they were read.
    """

    images: tuple[CocoImage, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    source: str = "COCO file"
    annotations: Mapping[ImageId, Sequence[Mapping[str, Any]]] = field(default_factory=dict, repr=False)
    notes: tuple[Note, ...] = ()
    _by_id: Mapping[ImageId, CocoImage] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {image.id: image for image in self.images})

    def image(self, image_id: ImageId) -> CocoImage:
        """Returns the entry of an image.

        Raises:
            DataError: if the image is not in the file.
        """
        try:
            return self._by_id[image_id]
        except KeyError:
            raise DataError(f"{self.source}: no image {image_id!r}; it has {len(self.images)} others") from None

    def instances(self, image_id: ImageId) -> Instances:
        """Returns the masks of one image in the order of the file, without crowd regions and empty masks.

        Scores are those of a results file, otherwise 1; ids start at 1.
        """
        image = self.image(image_id)
        entries = [entry for entry in self.annotations.get(image_id, ()) if not entry.get("iscrowd", 0)]
        order = {category: index for index, category in enumerate(self.category_ids)}
        instances = self._decode(
            entries,
            image.shape,
            scores=np.array([entry.get("score", 1.0) for entry in entries], np.float32),
            classes=np.array(
                [order.get(entry.get("category_id", UNKNOWN_CATEGORY), -1) for entry in entries], np.int32
            ),
            class_names=self.class_names,
        )
        filled = np.diff(instances.offsets) > 0
        return instances if filled.all() else instances.select(filled)

    def crowd(self, image_id: ImageId) -> BoolArray | None:
        """``(H, W)`` bool, the pixels of regions marked ``iscrowd``; None if there are none."""
        entries = [entry for entry in self.annotations.get(image_id, ()) if entry.get("iscrowd", 0)]
        if not entries:
            return None
        shape = self.image(image_id).shape
        mask = np.zeros(shape, bool)
        for row, start, stop in self._decode(entries, shape).runs:
            mask[row, start:stop] = True
        return mask

    def _decode(self, entries: Sequence[Mapping[str, Any]], shape: tuple[int, int], **attributes: Any) -> Instances:
        try:
            return from_coco_rle([_rle(entry, shape) for entry in entries], shape, **attributes)
        except DataError as error:
            raise DataError(f"{self.source}: image {entries[0]['image_id']!r}: {error}") from None


def _rle(entry: Mapping[str, Any], shape: tuple[int, int]) -> CocoRle:
    segmentation = entry.get("segmentation")
    if isinstance(segmentation, dict):
        return segmentation
    if isinstance(segmentation, list):
        return polygon_rles([segmentation], shape)[0]
    raise DataError(f"annotation {entry.get('id')} has no segmentation; boxes alone are not enough")


def read_coco(path: str | os.PathLike[str], *, like: CocoFile | None = None) -> CocoFile:
    """Reads a COCO ground truth or results file, plain or ``.gz``.

    Args:
        path: JSON with ``images``, ``annotations`` and ``categories``, or a list of results.
        like: ground truth with the images and categories of a results file; if None, both are taken from the results,
            which only works for images with a mask in run lengths.

    Raises:
        DataError: if the file is missing, is not JSON or is not in COCO format.
    """
    source = str(path)
    content = _load_json(Path(path))
    if isinstance(content, list):
        return _results(content, source, like)
    try:
        categories = sorted(content.get("categories", []), key=lambda entry: whole_number(entry["id"]))
        images = tuple(
            CocoImage(
                entry["id"],
                str(entry.get("file_name", "")),
                _shape((entry["height"], entry["width"])),
                str(entry.get("cell_type", "")),
                str(entry.get("mask_quality", "")),
            )
            for entry in content["images"]
        )
        entries = content.get("annotations", [])
        check_unique_ids([(image.id, image.file_name) for image in images], "image", source)
        check_unique_ids([(entry["id"], str(entry["name"])) for entry in categories], "category", source)
        named = [
            entry for entry in categories if whole_number(entry["id"]) != UNKNOWN_CATEGORY or entry["name"] != "unknown"
        ]
        listed = list(entries.values()) if isinstance(entries, dict) else entries
        return _with_notes(
            images,
            tuple(str(entry["name"]) for entry in named),
            tuple(whole_number(entry["id"]) for entry in named),
            source,
            group_by_image(listed, [image.id for image in images], source),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{source}: not in COCO format ({one_line(error)}); see cocodataset.org") from None


def _with_notes(
    images: tuple[CocoImage, ...],
    class_names: tuple[str, ...],
    category_ids: tuple[int, ...],
    source: str,
    grouped: Grouped,
) -> CocoFile:
    names = {image.id: image.file_name or str(image.id) for image in images}
    shapes = {image.id: image.shape for image in images}
    notes = accept_crowds(grouped, names) + notes_of(grouped, names, shapes, category_ids, source)
    return CocoFile(images, class_names, category_ids, source, grouped, notes)


def _shape(size: Sequence[Any]) -> tuple[int, int]:
    height, width = (whole_number(length) for length in size)
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise ValueError(f"an image of {height}x{width} pixels")
    return height, width


def _load_json(path: Path) -> Any:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    try:
        return json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (ValueError, EOFError, OSError, zlib.error, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); export it again") from None


def _results(entries: Sequence[dict[str, Any]], source: str, like: CocoFile | None) -> CocoFile:
    try:
        grouped = group_by_image(entries, None if like is None else [image.id for image in like.images], source)
        if like is not None:
            return _with_notes(like.images, like.class_names, like.category_ids, source, grouped)
        shapes = {key: _shape(found[0]["segmentation"]["size"]) for key, found in grouped.items()}
        categories = sorted({entry["category_id"] for entry in entries} - {UNKNOWN_CATEGORY})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{source}: not COCO results ({one_line(error)}); give the ground truth too") from None
    images = tuple(CocoImage(key, "", shape) for key, shape in shapes.items())
    names = tuple(f"category {number}" for number in categories)
    return _with_notes(images, names, tuple(categories), source, grouped)


def write_coco(
    path: str | os.PathLike[str],
    images: Mapping[ImageId, Instances],
    *,
    file_names: Mapping[ImageId, str] | None = None,
    ignore: Mapping[ImageId, Instances] | None = None,
    facts: Mapping[ImageId, Mapping[str, str]] | None = None,
) -> None:
    """Writes ground truth: images, annotations in compressed run lengths, categories; gzipped if the name ends in
    ``.gz``.

    Args:
        images: instances by image id, all with the same class names.
        file_names: file names of the images; ``<id>.png`` if None.
        ignore: regions of some images, written as annotations marked ``iscrowd``.
        facts: additional fields of images, such as ``cell_type`` and ``mask_quality``.
    """
    names = _class_names(images)
    annotations: list[dict[str, Any]] = []
    for image_id, instances in images.items():
        annotations += _annotations(image_id, instances, range(1, len(names) + 1), len(annotations))
        if ignore is not None and image_id in ignore:
            annotations += _crowd(image_id, ignore[image_id], len(annotations))
    categories = _categories(names, any(entry["category_id"] == UNKNOWN_CATEGORY for entry in annotations))
    entries = [
        {
            "id": image_id,
            "file_name": file_names[image_id] if file_names else f"{image_id}.png",
            "height": instances.shape[0],
            "width": instances.shape[1],
            **((facts or {}).get(image_id, {})),
        }
        for image_id, instances in images.items()
    ]
    _write_json(path, {"images": entries, "annotations": annotations, "categories": categories})


def coco_part(file_name: str, instances: Instances, *, polygons: bool = False) -> dict[str, Any]:
    """Converts one image to the plain values of a COCO file; scores are stored with the masks.

    Args:
        file_name: of the image.
        instances: its masks.
        polygons: whether masks are stored as polygons along pixel edges, as in LIVECell, instead of run lengths.
    """
    numbers = range(1, len(instances.class_names) + 1)
    annotations = [
        entry | {"score": round(score, 4)}
        for entry, score in zip(_annotations(0, instances, numbers, 0), instances.scores.tolist(), strict=True)
    ]
    if polygons:
        for entry, parts in zip(annotations, to_polygons(instances), strict=True):
            entry["segmentation"] = parts
    image = {"file_name": file_name, "height": instances.shape[0], "width": instances.shape[1]}
    return {"image": image, "annotations": annotations, "class_names": list(instances.class_names)}


def write_coco_parts(path: str | os.PathLike[str], parts: Iterable[Mapping[str, Any]]) -> None:
    """Writes one COCO file from results of :func:`coco_part`, with one part in memory at a time.

    Images and annotations are numbered from 1, in order.

    Raises:
        DataError: if the images have different class names.
    """
    images: list[dict[str, Any]] = []
    names: list[str] | None = None
    count, unknown = 0, False
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as handle:
        handle.write('{"annotations":[')
        for part in parts:
            images.append({"id": len(images) + 1, **part["image"]})
            if names not in (None, part["class_names"]):
                raise DataError(f"{path}: the images have different class names; write one file per list of classes")
            names = part["class_names"]
            for entry in part["annotations"]:
                handle.write("," * (count > 0) + _compact(entry | {"id": count + 1, "image_id": len(images)}))
                count += 1
                unknown = unknown or entry["category_id"] == UNKNOWN_CATEGORY
        handle.write(f'],"images":{_compact(images)},"categories":{_compact(_categories(names or (), unknown))}}}\n')


def write_coco_results(
    path: str | os.PathLike[str], images: Mapping[ImageId, Instances], *, like: CocoFile | None = None
) -> None:
    """Writes results: a list of image_id, category_id, segmentation and score.

    Args:
        images: instances by image id.
        like: ground truth whose category ids are used, matched by class name; 1, 2, ... if None.

    Raises:
        DataError: if a class is not in ``like``.
    """
    names = _class_names(images)
    numbers: Sequence[int] = range(1, len(names) + 1)
    if like is not None:
        known = dict(zip(like.class_names, like.category_ids, strict=True))
        missing = [name for name in names if name not in known]
        if missing:
            raise DataError(f"{path}: {like.source} has no category {', '.join(missing)}; map the class names first")
        numbers = [known[name] for name in names]
    results: list[dict[str, Any]] = []
    for image_id, instances in images.items():
        for entry, score in zip(_annotations(image_id, instances, numbers, 0), instances.scores, strict=True):
            results.append(
                {key: entry[key] for key in ("image_id", "category_id", "segmentation")} | {"score": float(score)}
            )
    _write_json(path, results)


def _categories(names: Sequence[str], unknown: bool) -> list[dict[str, Any]]:
    first = [{"id": UNKNOWN_CATEGORY, "name": "unknown"}] if unknown else []
    return [*first, *({"id": index + 1, "name": name} for index, name in enumerate(names))]


def _class_names(images: Mapping[ImageId, Instances]) -> tuple[str, ...]:
    names = {instances.class_names for instances in images.values()}
    if len(names) > 1:
        raise DataError(f"COCO: the images have different class names ({sorted(names)}); map them to one list first")
    return names.pop() if names else ()


def _annotations(image_id: ImageId, instances: Instances, numbers: Sequence[int], before: int) -> list[dict[str, Any]]:
    boxes = instances.boxes.astype(float)
    boxes = np.stack([boxes[:, 1], boxes[:, 0], boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]], axis=1)
    parts = zip(
        to_coco_rle(instances), instances.classes.tolist(), instances.areas.tolist(), boxes.tolist(), strict=True
    )
    return [
        {
            "id": before + position + 1,
            "image_id": image_id,
            "category_id": numbers[label] if 0 <= label < len(numbers) else UNKNOWN_CATEGORY,
            "segmentation": rle,
            "area": area,
            "bbox": box,
            "iscrowd": 0,
        }
        for position, (rle, label, area, box) in enumerate(parts)
    ]


def _crowd(image_id: ImageId, regions: Instances, before: int) -> list[dict[str, Any]]:
    """Annotations that mark regions as crowds, in the form that every COCO tool excludes from scoring."""
    return [{**entry, "iscrowd": 1} for entry in _annotations(image_id, regions, (), before)]


def _write_json(path: str | os.PathLike[str], content: object) -> None:
    data = _compact(content).encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)


def _compact(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))
