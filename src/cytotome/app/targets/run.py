"""Training targets of a dataset, as arrays and as pictures: ``cytotome targets``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from cytotome.app.opening import open_and_warn
from cytotome.app.options import parse_overrides
from cytotome.contract import FamilyConfig
from cytotome.errors import ConfigError, DataError, describe
from cytotome.families import AnyFamily, get_family
from cytotome.io.files import atomic_path
from cytotome.ops.cell_types import with_classes
from cytotome.report.overlay import write_overlay
from cytotome.report.png import write_png
from cytotome.report.targets import draw_target
from cytotome.types import Sample


def run_targets(
    data: str,
    family_name: str,
    output: Path,
    *,
    layout: str | None = None,
    settings: Sequence[str] = (),
    limit: int | None = None,
) -> int:
    """Writes the targets of every labelled image, at the image's own resolution, and prints their number.

    For image ``ID``, these are ``ID.npz`` with all targets, ``ID_overlay.png`` with the outlines of its cells, and
    ``ID_TARGET.png`` for each target of the image's size.

    Args:
        data: dataset.
        family_name: family of the targets.
        output: folder, created if it is missing.
        layout: layout of the dataset, None to detect it from its files.
        settings: ``NAME=VALUE`` fields of the family's config.
        limit: maximum number of images.

    Raises:
        ConfigError: if the family is unknown or the config is not valid; all errors are listed.
        DataError: if no image is labelled.
    """
    dataset = open_and_warn(data, layout=layout)
    family = get_family(family_name)
    config = _config(family, dataset.class_names, settings)
    labelled = [i for i, info in enumerate(dataset.infos) if info.is_labelled][:limit]
    if not labelled:
        raise DataError(f"{data}: no image is labelled, so it has no targets; give a dataset with masks")
    output.mkdir(parents=True, exist_ok=True)
    for index in labelled:
        _write(dataset[index], family, config, output)
    return len(labelled)


def _config(family: AnyFamily, class_names: Sequence[str], settings: Sequence[str]) -> FamilyConfig:
    fields = parse_overrides(settings)
    if class_names:
        fields = {"class_names": tuple(class_names)} | fields
    try:
        return family.config(**fields)
    except ValidationError as error:
        names = ", ".join(family.config.model_fields)
        raise ConfigError(f"config of {family.name}: {'; '.join(describe(error))}; there are {names}") from None


def _write(sample: Sample, family: AnyFamily, config: FamilyConfig, output: Path) -> None:
    if sample.instances is None:
        return
    instances = with_classes(sample.instances, config.class_names)
    targets = family.targets(instances, config)
    stem = re.sub(r"[^\w.-]", "_", sample.info.id)
    with atomic_path(output / f"{stem}.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **targets)  # type: ignore[arg-type]
    write_overlay(output / f"{stem}_overlay.png", sample.image, instances)
    specs = {spec.name: spec for spec in family.outputs(config).specs}
    for name, values in targets.items():
        if values.ndim == 3 and values.shape[1:] == sample.image.shape:
            write_png(output / f"{stem}_{name}.png", draw_target(name, values, specs))
