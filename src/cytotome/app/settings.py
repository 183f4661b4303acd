"""What decides the results of a run, and whether a folder holds results of the same."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from cytotome.errors import ConfigError

if TYPE_CHECKING:
    from cytotome.app.discover import Source
    from cytotome.app.results import Results
    from cytotome.ensemble.load import Segmenter
    from cytotome.inference.scale import CellScale


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """Options of ``cytotome segment``, as typed.

    Attributes:
        model: name or path.
        overwrite: segment anew what is done.
        page: of multi-page files, ``all`` for each as an image of its own, None for the first.
        microns: per pixel, in the place of what the files say.
        diameter: typical diameter of the cells in pixels, None where it is to be found out.
        scale: factor by which images are resized for the model, instead of ``diameter``.
        settings: ``name=value`` overrides of decode parameters.
        tta: average over the symmetries of the square.
        tile: side of a tile in pixels of the network's input, None for the default.
        overlays: write overlays.
        maps: write pictures of the network's maps.
        coco: write a COCO file of all masks.
        device, precision: of the network.
        quiet: say nothing but errors.
    """

    model: str = "neurons"
    overwrite: bool = False
    page: int | Literal["all"] | None = None
    microns: float | None = None
    diameter: float | None = None
    scale: float | None = None
    settings: tuple[str, ...] = ()
    tta: bool = False
    tile: int | None = None
    overlays: bool = True
    maps: bool = False
    coco: bool = False
    device: str = "auto"
    precision: str = "auto"
    quiet: bool = False

    def __post_init__(self) -> None:
        check_microns(self.microns)
        self.cell_scale()

    def cell_scale(self) -> CellScale:
        """The size at which images are shown to the model.

        Raises:
            ConfigError: where it is given twice or out of range.
        """
        from cytotome.inference.scale import CellScale

        return CellScale(self.scale, self.diameter)

    @property
    def first_page(self) -> int:
        """The page to read of a file that is one image."""
        return self.page if isinstance(self.page, int) else 0


def check_microns(microns: float | None) -> None:
    """Raises ConfigError where microns per pixel are given and no positive number."""
    if microns is not None and not 0 < microns < float("inf"):
        raise ConfigError(f"microns: expected a positive number, got {microns}")


def parse_page(text: str | None) -> int | Literal["all"] | None:
    """A page as it is typed: a number from 0, or ``all``.

    Raises:
        ConfigError: where it is neither.
    """
    if text is None:
        return None
    if text == "all":
        return "all"
    if not text.isascii() or not text.isdecimal():
        raise ConfigError(f"--page {text}: expected a number from 0, or all")
    return int(text)


def parse_overrides(settings: Sequence[str]) -> dict[str, Any]:
    """``name=value`` texts as a mapping; values are read as YAML.

    Raises:
        ConfigError: where one has another form, all such at once.
    """
    import yaml

    overrides, faults = {}, []
    for text in settings:
        name, equals, value = text.partition("=")
        try:
            overrides[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not (equals and name.strip() and value.strip()):
            faults.append(repr(text))
    if faults:
        raise ConfigError(f"--set {', '.join(faults)}: expected NAME=VALUE, such as min_area=40")
    return overrides


def effective_settings(model: Segmenter, options: SegmentOptions) -> dict[str, Any]:
    """All that the results depend on, beside the images, as plain values.

    Raises:
        ConfigError: where a decode parameter is unknown or out of range.
    """
    parameters = model.override(**parse_overrides(options.settings))
    return {
        "model": options.model,
        "model_hash": model.hash,
        "family": model.method,
        "parameters": parameters.model_dump(mode="json"),
        "page": options.page or 0,
        "microns": options.microns,
        "diameter": options.diameter,
        "scale": options.scale,
        "tta": options.tta,
        "tile": options.tile,
        "device": model.device.type,
        "precision": str(model.precision).removeprefix("torch."),
    }


def check_same(
    results: Results,
    run: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    sources: Sequence[Source],
    *,
    overwrite: bool,
) -> None:
    """Makes sure that what the folder holds is of a run under these settings; else nothing there counts as done.

    With ``overwrite``, these images are undone; all are where the settings are others.

    Args:
        results: the folder.
        run: the record of the run before, None where there is none.
        settings: those of this run.
        sources: the images of this run.
        overwrite: whether files that are there may be replaced.

    Raises:
        ConfigError: where the folder holds files of other settings or of no run at all, and they are not to be
            overwritten.
    """
    if run is None:
        if not overwrite and (path := results.in_the_way(sources)):
            raise ConfigError(f"{path}: is there, and of no run; give --overwrite to replace it, or another folder")
        results.discard_marks()
        return
    before, now = _flat(run.get("settings", {})), _flat(settings)
    changed = [name for name in now if name != "model" and before.get(name) != now[name]]
    if overwrite:
        results.discard_marks(None if changed else sources)
        return
    if changed:
        differences = "; ".join(f"{name} was {before.get(name)}, now {now[name]}" for name in changed)
        raise ConfigError(
            f"{results.folder}: holds results of other settings ({differences}); "
            "give --overwrite to replace them, or another folder"
        )


def check_names(results: Results, undone: Iterable[Source]) -> None:
    """Makes sure that no image to be segmented has the name of another one that the folder holds.

    Raises:
        ConfigError: where one has.
    """
    for source in undone:
        if other := results.belongs_to_another(source):
            raise ConfigError(
                f"{results.labels(source)}: is of {other}, not of {source.path}; "
                "give --overwrite to replace it, or another folder"
            )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with each decode parameter by itself, so that a message can name it."""
    return {name: value for name, value in settings.items() if name != "parameters"} | dict(
        settings.get("parameters", {})
    )


def versions() -> dict[str, str]:
    """Versions of what computes the results."""
    names = ("cytotome", "torch", "numpy", "numba", "opencv-python-headless", "tifffile", "imagecodecs")
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
