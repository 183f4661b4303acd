"""Run lengths: the Sartorius challenge's (1-based, row by row) and COCO's (column by column, compressed or not)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cytotome.errors import DataError
from cytotome.ops.kernels import kernel
from cytotome.ops.runs import joined_flat_runs, merge_runs, split_flat_runs
from cytotome.ops.transpose import transpose
from cytotome.types import AnyArray, Instances

CocoRle = dict[str, Any]
"""``{"size": [H, W], "counts": str}`` (compressed) or ``counts`` as a list of int."""

_NOT_A_NUMBER, _ODD_COUNT = 1, 2


def encode_rle(instances: Instances) -> list[str]:
    """Returns the challenge's run lengths, one string per instance: ``start length`` pairs, 1-based, row-major."""
    starts, lengths, owners = joined_flat_runs(instances)
    words = np.stack([starts + 1, lengths], axis=1).ravel().tolist()
    ends = 2 * np.searchsorted(owners, np.arange(len(instances)), side="right")
    begins = [0, *ends[:-1].tolist()]
    return [" ".join(map(str, words[begin:end])) for begin, end in zip(begins, ends.tolist(), strict=False)]


def decode_rle(rows: Sequence[str], shape: tuple[int, int], **attributes: Any) -> Instances:
    """Creates instances from the challenge's run lengths.

    Args:
        rows: one string per instance; an empty string is an empty mask. Runs may be in any order and may touch.
        shape: ``(H, W)`` of the image.
        **attributes: scores, classes, ids and class_names, as in :meth:`cytotome.types.Instances.from_runs`.

    Raises:
        DataError: if a word is not an integer, the number of words is odd, or a run is outside the image.
    """
    try:
        text = "\n".join(rows).encode("ascii")
        if text.count(b"\n") >= max(len(rows), 1):
            text = "\n".join(row.replace("\n", " ") for row in rows).encode("ascii")
    except (UnicodeEncodeError, TypeError) as error:
        raise DataError(f"run lengths must be text of whole numbers: {error}; check the annotation column") from None
    numbers, owners, fault, line = _parse_pairs(np.frombuffer(text + b"\n", np.uint8), len(rows))
    if fault:
        reason = "a word that is not a whole number" if fault == _NOT_A_NUMBER else "an odd count of numbers"
        raise DataError(f"run lengths: row {line} has {reason}; expected 'start length' pairs")
    starts, lengths = numbers[:, 0] - 1, numbers[:, 1]
    wrong = (starts < 0) | (lengths < 1) | (starts + lengths > shape[0] * shape[1])
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(
            f"run lengths: row {owners[at]} has the run '{numbers[at, 0]} {numbers[at, 1]}', which does not fit an "
            f"image of {shape[0]}x{shape[1]} (height x width, first pixel 1); check the image's size"
        )
    return _from_flat(starts, lengths, owners, shape, len(rows), **attributes)


def _from_flat(
    starts: AnyArray, lengths: AnyArray, owners: AnyArray, shape: tuple[int, int], count: int, **attributes: Any
) -> Instances:
    runs, owners = split_flat_runs(starts, lengths, owners, shape)
    merged, offsets = merge_runs(runs, owners, count)
    return Instances.from_runs(shape, merged, offsets, **attributes)


@kernel
def _parse_pairs(text: AnyArray, lines: int) -> tuple[AnyArray, AnyArray, int, int]:
    """``(numbers (R, 2), owners (R,), fault, line)`` of lines of numbers separated by spaces."""
    values = np.empty(len(text) // 2 + 2, np.int64)
    owners = np.empty(len(text) // 2 + 2, np.int64)
    found, line, begun, value, line_start = 0, 0, False, 0, 0
    for byte in text:
        if 48 <= byte <= 57:
            value = value * 10 + (byte - 48)
            begun = True
            if value > 1 << 40:
                return values[:0].reshape(-1, 2), owners[:0], 1, line
            continue
        if byte != 32 and byte != 10 and byte != 9 and byte != 13:
            return values[:0].reshape(-1, 2), owners[:0], 1, line
        if begun:
            values[found] = value
            owners[found] = line
            found += 1
            begun, value = False, 0
        if byte == 10:
            if (found - line_start) % 2:
                return values[:0].reshape(-1, 2), owners[:0], 2, line
            line_start = found
            line += 1
    return values[:found].copy().reshape(-1, 2), owners[:found:2].copy(), 0, -1


def to_coco_rle(instances: Instances, *, compressed: bool = True) -> list[CocoRle]:
    """Returns COCO run lengths, one per instance, identical to those of pycocotools; ``counts`` is str (or a list of
    int).
    """
    size = list(instances.shape)
    starts, lengths, owners = joined_flat_runs(transpose(instances))
    ends = np.searchsorted(owners, np.arange(len(instances)), side="right")
    counts, count_ends = _alternate(starts, lengths, ends, size[0] * size[1])
    if compressed:
        text, text_ends = _compress(counts, count_ends)
        whole = text.tobytes().decode("ascii")
        return [{"size": size, "counts": whole[a:b]} for a, b in _spans(text_ends)]
    return [{"size": size, "counts": counts[a:b].tolist()} for a, b in _spans(count_ends)]


def _spans(ends: AnyArray) -> list[tuple[int, int]]:
    stops = ends.tolist()
    return list(zip([0, *stops], stops, strict=False))


@kernel
def _alternate(starts: AnyArray, lengths: AnyArray, ends: AnyArray, pixels: int) -> tuple[AnyArray, AnyArray]:
    """Alternating counts of zeros and ones, and the end of each instance's counts.

    Args:
        starts, lengths: ``(R,)`` int64, flat runs sorted by instance and start.
        ends: ``(N,)`` int64, end of the runs of each instance.
        pixels: number of pixels of the image.

    Returns:
        ``(counts (C,) int64, ends (N,) int64)``.
    """
    counts = np.empty(2 * len(starts) + len(ends), np.int64)
    count_ends = np.empty(len(ends), np.int64)
    found, index = 0, 0
    for instance in range(len(ends)):
        position = 0
        while index < ends[instance]:
            counts[found] = starts[index] - position
            counts[found + 1] = lengths[index]
            position = starts[index] + lengths[index]
            found += 2
            index += 1
        if position < pixels:
            counts[found] = pixels - position
            found += 1
        count_ends[instance] = found
    return counts[:found], count_ends


@kernel
def _compress(counts: AnyArray, ends: AnyArray) -> tuple[AnyArray, AnyArray]:
    """COCO's text: from the fourth count on, the difference to the last but one, with 5 bits per character.

    Args:
        counts, ends: ``(C,)`` and ``(N,)`` int64, as returned by :func:`_alternate`.

    Returns:
        ``(text (T,) uint8, ends (N,) int64)``, the texts of all instances and the end of each.
    """
    text = np.empty(13 * len(counts) + 1, np.uint8)
    text_ends = np.empty(len(ends), np.int64)
    length, begin = 0, 0
    for instance in range(len(ends)):
        for index in range(begin, ends[instance]):
            value = counts[index]
            if index - begin > 2:
                value -= counts[index - 2]
            more = True
            while more:
                bits = value & 31
                value >>= 5
                more = value != -1 if bits & 16 else value != 0
                text[length] = (bits | 32 if more else bits) + 48
                length += 1
        begin = ends[instance]
        text_ends[instance] = length
    return text[:length], text_ends


def from_coco_rle(
    rles: Sequence[Mapping[str, Any]], shape: tuple[int, int] | None = None, **attributes: Any
) -> Instances:
    """Creates instances from COCO run lengths, compressed (str or bytes), uncompressed (list of int) or mixed.

    Args:
        rles: one per instance, each with ``size`` ``[H, W]`` and ``counts``.
        shape: ``(H, W)``; by default, that of the first mask.
        **attributes: as in :meth:`cytotome.types.Instances.from_runs`.

    Raises:
        DataError: if counts are damaged or do not add up to the image, or sizes differ.
    """
    if shape is None:
        if not rles:
            raise DataError("COCO run lengths: give shape=(H, W) if there is no mask")
        shape = _size(rles[0])
        if shape is None:
            raise DataError("COCO run lengths: mask 0 has no size [height, width]; the annotation is damaged")
    counts, ends = _all_counts(rles, shape)
    totals = np.diff(np.concatenate([[0], np.cumsum(counts)])[np.concatenate([[0], ends])])
    wrong = totals != shape[0] * shape[1]
    if wrong.any() or (len(counts) and counts.min() < 0):
        at = int(np.argmax(wrong)) if wrong.any() else int(np.searchsorted(ends, np.argmin(counts), side="right"))
        raise DataError(
            f"COCO run lengths: mask {at} has counts that do not add up to {shape[0]}x{shape[1]} pixels "
            f"(sum {totals[at]}); the annotation is damaged or of another image"
        )
    starts, lengths, owners = _ones(counts, ends)
    return transpose(_from_flat(starts, lengths, owners, (shape[1], shape[0]), len(rles), **attributes))


def _size(rle: Mapping[str, Any]) -> tuple[int, int] | None:
    """``(H, W)``, None if the mask has no valid size."""
    try:
        height, width = (whole_number(length) for length in rle["size"])
    except (KeyError, TypeError, ValueError):
        return None
    return (height, width) if min(height, width) > 0 else None


def whole_number(value: Any) -> int:
    """Converts a number or a string of digits of a JSON file to int.

    Raises:
        TypeError: if it is neither.
        ValueError: if it is not an integer.
    """
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value} is not a whole number")
    return int(value)


def _all_counts(
    rles: Sequence[Mapping[str, Any]], shape: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """``(counts, ends)`` of all masks, concatenated."""
    expected = list(shape)
    pieces: list[AnyArray] = [np.zeros(0, np.int64)]
    texts: list[bytes] = []
    for index, rle in enumerate(rles):
        counts = rle.get("counts")
        if counts is None or (rle.get("size") != expected and _size(rle) != shape):
            raise DataError(
                f"COCO run lengths: mask {index} needs counts and the size {list(shape)}, got {rle.get('size')}; "
                "check that image and annotations belong together"
            )
        if isinstance(counts, (str, bytes)):
            texts.append(counts.encode("ascii", "replace") if isinstance(counts, str) else counts)
            continue
        if texts:
            pieces.append(_expand(texts, index - len(texts)))
            texts = []
        pieces.append(np.append(_listed(counts, index), _END))
    if texts:
        pieces.append(_expand(texts, len(rles) - len(texts)))
    marked = np.concatenate(pieces)
    stops = np.flatnonzero(marked == _END)
    return marked[marked != _END], stops - np.arange(len(stops))


def _listed(counts: Any, index: int) -> npt.NDArray[np.int64]:
    try:
        return np.asarray(counts, np.int64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"COCO run lengths: mask {index} has counts that are not whole numbers; it is damaged"
        ) from None


_END = np.iinfo(np.int64).min


def _expand(texts: list[bytes], first: int) -> npt.NDArray[np.int64]:
    text = b"\n".join(texts) + b"\n"
    counts, fault = _decompress(np.frombuffer(text, np.uint8), _END)
    if fault >= 0:
        raise DataError(f"COCO run lengths: the text of mask {first + fault} is damaged; export the annotations again")
    return counts


@kernel
def _decompress(text: AnyArray, end: int) -> tuple[AnyArray, int]:
    """Decodes the counts of texts that end with a line break.

    Args:
        text: ``(T,)`` uint8, the concatenated texts.
        end: appended to the counts of each text.

    Returns:
        ``(counts (C,) int64, fault)``: the index of the first damaged text, -1 if there is none.
    """
    counts = np.empty(len(text), np.int64)
    found, begin, line, shift, value = 0, 0, 0, 0, np.int64(0)
    for byte in text:
        if byte == 10:
            if shift:
                return counts[:0], line
            counts[found] = end
            found += 1
            begin = found
            line += 1
            continue
        bits = np.int64(byte) - 48
        if bits < 0 or bits > 63 or shift > 50:
            return counts[:0], line
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value |= np.int64(-1) << shift
        if found - begin > 2:
            value += counts[found - 2]
        counts[found] = value
        found += 1
        shift, value = 0, np.int64(0)
    return counts[:found].copy(), -1


@kernel
def _ones(counts: AnyArray, ends: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
    """``(starts, lengths, owners)``, each ``(R,)`` int64: the runs of ones of counts ``(C,)`` with ends ``(N,)``."""
    starts = np.empty(len(counts), np.int64)
    lengths = np.empty(len(counts), np.int64)
    owners = np.empty(len(counts), np.int64)
    found, begin = 0, 0
    for instance in range(len(ends)):
        position = 0
        for index in range(begin, ends[instance]):
            if (index - begin) % 2 and counts[index] > 0:
                starts[found], lengths[found], owners[found] = position, counts[index], instance
                found += 1
            position += counts[index]
        begin = ends[instance]
    return starts[:found], lengths[:found], owners[:found]
