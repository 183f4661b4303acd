"""Settings that determine the results of a run: options, parameters, versions, and their differences."""

from __future__ import annotations

import difflib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from cytotome.app.options import check_microns, parse_overrides
from cytotome.errors import ConfigError

if TYPE_CHECKING:
    from cytotome.inference.scale import CellScale
    from cytotome.inference.segmenter import Segmenter


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """Options of ``cytotome segment``, as typed.

    Attributes:
        model: name or path.
        overwrite: segment finished images again, and replace existing files.
        page: page of multi-page files, ``all`` for each page as a separate image, None for the first.
        microns: microns per pixel, overriding those of the files.
        diameter: typical diameter of the cells in pixels, None to estimate it.
        scale: factor by which images are resized for the model, instead of ``diameter``.
        settings: ``name=value`` overrides of decoder parameters.
        tta: average over the symmetries of the square.
        tile: side of a tile in pixels of the network's input, None for the default.
        overlays: write overlays.
        maps: write pictures of the network's maps.
        coco: write a COCO file of all masks.
        exports: names of additional formats, of other packages.
        device, precision: device and precision of the network.
        quiet: print only errors.
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
    exports: tuple[str, ...] = ()
    device: str = "auto"
    precision: str = "auto"
    quiet: bool = False

    def __post_init__(self) -> None:
        check_microns(self.microns)
        self.cell_scale()

    def cell_scale(self) -> CellScale:
        """The size at which images are passed to the model.

        Raises:
            ConfigError: if it is given twice or out of range.
        """
        from cytotome.inference.scale import CellScale

        return CellScale(self.scale, self.diameter)

    @property
    def first_page(self) -> int:
        """The page to read if a file is one image."""
        return self.page if isinstance(self.page, int) else 0


def effective_settings(model: Segmenter, options: SegmentOptions) -> dict[str, Any]:
    """Everything that determines the results, except the images, as plain values.

    Raises:
        ConfigError: if a decoder parameter is unknown or out of range.
    """
    overrides = parse_overrides(options.settings)
    _check_known(overrides, list(type(model.parameters).model_fields))
    parameters = model.override(**overrides)
    return {
        "model": options.model,
        "model_hash": model.digest,
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


def _check_known(overrides: Mapping[str, Any], known: Sequence[str]) -> None:
    faults = []
    for name, value in overrides.items():
        if name in known:
            continue
        close = difflib.get_close_matches(name, known, n=1)
        if name in {field.name for field in fields(SegmentOptions)}:
            faults.append(f"{name} is an option, not a parameter of the decoder: use --{name} {value}")
        else:
            hint = f", did you mean {close[0]}?" if close else ""
            faults.append(f"{name} is not a parameter of this model's decoder{hint}")
    if faults:
        raise ConfigError(f"--set: {'; '.join(faults)}; --set takes {', '.join(known)}")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describes differences of settings; for another model only that, as its parameters differ too.

    Args:
        before, now: results of :func:`effective_settings`.
    """
    changed = [name for name in now if name not in ("model", "family", "parameters") and before.get(name) != now[name]]
    if "model_hash" in changed:
        was, model = before.get("model", "unknown"), now["model"]
        other = f"model was {was}, now {model}" if was != model else f"model {model} was another version"
        return [other, *(_change(name, before, now) for name in changed if name != "model_hash")]
    old, new = _flat(before.get("parameters", {})), _flat(now.get("parameters", {}))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [_change(name, old, new) for name in names] + [_change(name, before, now) for name in changed]


def _change(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return f"{name} was {_shown(before.get(name))}, now {_shown(now.get(name))}"


def _shown(value: Any) -> str:
    words: dict[object, str] = {None: "not given", True: "on", False: "off"}
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _flat(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Parameters by the path of their names, such as ``by_class.cort.min_score``."""
    flat: dict[str, Any] = {}
    for name, value in parameters.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def versions() -> dict[str, str]:
    """Versions of the packages that compute the results."""
    names = ("cytotome", "torch", "numpy", "numba", "opencv-python-headless", "tifffile", "imagecodecs")
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
