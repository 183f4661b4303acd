"""Opening a dataset by its path; the layout is detected from its files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cytotome.datasets.coco import CocoDataset
from cytotome.datasets.files import note_of_others, walk
from cytotome.datasets.folders import FoldersDataset, has_images
from cytotome.datasets.livecell import LivecellDataset, annotation_files
from cytotome.datasets.sartorius import SartoriusDataset
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.errors import ConfigError, CytotomeError, DataError, one_line
from cytotome.plugins import LAYOUTS, load_plugin, plugin_names
from cytotome.types import Dataset, Note

SYNTHETIC_COUNT = 12
COCO_SUFFIXES = (".json", ".json.gz")


@dataclass(frozen=True)
class Layout:
    """A dataset layout provided by another package.

    Attributes:
        open: ``open(path)`` returns the dataset of a folder or file; it should only read tables.
        fits: ``fits(path)`` quickly checks whether the path has this layout; None if the layout must be given
            explicitly.
    """

    open: Callable[[Path], Dataset]
    fits: Callable[[Path], bool] | None = None


def layouts() -> tuple[str, ...]:
    """Names of all layouts, plugins last."""
    return (*_OPENERS, *(name for name in plugin_names(LAYOUTS) if name not in _OPENERS))


def open_dataset(path: str | os.PathLike[str], *, layout: str | None = None) -> Dataset:
    """Opens a dataset; only its tables are read until a sample is accessed.

    Args:
        path: a folder, a COCO file, or ``synthetic``, ``synthetic:COUNT`` or ``synthetic:COUNT:SEED``.
        layout: one of :func:`layouts`; detected from the files if None.

    Raises:
        DataError: if the path is missing, the layout is unknown or cannot be detected, or the files are damaged.
    """
    if layout is not None and layout not in layouts():
        raise DataError(f"layout {layout!r} is unknown; choose one of {', '.join(layouts())}")
    text = os.fspath(path)
    if layout == "synthetic" or (layout is None and text.split(":")[0] == "synthetic" and not Path(text).exists()):
        return _open_synthetic(text)
    if not Path(text).exists():
        raise DataError(f"{text}: no such file or folder; check the path")
    faults: list[str] = []
    layout = layout or _guess(Path(text), faults)
    dataset = _OPENERS[layout](text) if layout in _OPENERS else _open_plugin(layout, Path(text))
    if faults:
        dataset.notes = (*dataset.notes, Note("layouts of other packages could not be tried", tuple(faults)))
    return dataset


def _guess(path: Path, faults: list[str]) -> str:
    """Detects the layout of an existing path; a table that is specific to a layout takes precedence over images.

    Layouts of plugins come before ``folders``, which accepts any folder with images.
    """
    if path.is_file():
        if path.name.endswith(COCO_SUFFIXES):
            return "coco"
        if added := _plugin_that_fits(path, faults):
            return added
        raise DataError(f"{path}: a dataset is a folder or a COCO file (.json, .json.gz); give one of those")
    if (path / "train.csv").is_file():
        return "sartorius"
    if annotation_files(path):
        return "livecell"
    if _coco_files(path):
        return "coco"
    if added := _plugin_that_fits(path, faults):
        return added
    if has_images(path):
        return "folders"
    others = [
        *faults,
        *note_of_others([file for part in (path, path / "images") for file in walk(part, recursive=False)], path),
    ]
    raise DataError(
        f"{path}: the layout cannot be detected; expected train.csv (sartorius), livecell_coco_*.json (livecell), "
        f"one *.json of COCO (coco), or images/ with labels/ (folders){''.join(f'; {note}' for note in others)}"
    )


def _open_plugin(name: str, path: Path) -> Dataset:
    layout = load_plugin(LAYOUTS, name, Layout)
    try:
        dataset = layout.open(path)
    except CytotomeError:
        raise
    except Exception as error:
        raise DataError(f"{path}: the layout {name!r} cannot open it ({one_line(error)}); check the files") from error
    if not isinstance(dataset, Dataset):
        raise DataError(f"{path}: the layout {name!r} must return a Dataset, got {type(dataset).__name__}")
    return dataset


def _plugin_that_fits(path: Path, faults: list[str]) -> str | None:
    """The first layout of another package that fits; errors of broken plugins are added to ``faults``."""
    for name in plugin_names(LAYOUTS):
        try:
            layout = load_plugin(LAYOUTS, name, Layout)
            if layout.fits is not None and layout.fits(path):
                return name
        except ConfigError as error:
            faults.append(str(error))
        except Exception as error:
            faults.append(f"the layout {name!r} failed on {path} ({one_line(error)})")
    return None


def _coco_files(root: Path) -> list[Path]:
    found = [path for folder in (root, root / "annotations") for path in folder.glob("*.json*")]
    return sorted(path for path in found if path.name.endswith(COCO_SUFFIXES) and path.name != "run.json")


def _open_coco(text: str) -> Dataset:
    path = Path(text)
    if path.is_file():
        return CocoDataset(path)
    files = _coco_files(path)
    if len(files) != 1:
        names = ", ".join(str(file.relative_to(path)) for file in files) or "none"
        raise DataError(f"{path}: expected one COCO file, found {names}; give the path of the file itself")
    return CocoDataset(files[0], images=path)


def _open_synthetic(text: str) -> Dataset:
    numbers = text.split(":")[1:]
    if len(numbers) > 2 or not all(number.isdigit() for number in numbers):
        raise DataError(f"{text!r}: expected synthetic, synthetic:COUNT or synthetic:COUNT:SEED, whole numbers")
    count, seed = (*map(int, numbers), *(SYNTHETIC_COUNT, 0)[len(numbers) :])
    return SyntheticDataset(count, seed)


_OPENERS: dict[str, Callable[[str], Dataset]] = {
    "sartorius": SartoriusDataset,
    "livecell": LivecellDataset,
    "folders": FoldersDataset,
    "coco": _open_coco,
    "synthetic": _open_synthetic,
}
