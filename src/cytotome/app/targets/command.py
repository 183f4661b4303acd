"""``cytotome targets``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def targets(
    dataset: Annotated[str, typer.Argument(metavar="DATA", help="Dataset with masks. See cytotome data info.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results; made where it is missing.")],
    family: Annotated[str, typer.Option("--family", "-f", help="Method. See cytotome models list.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a field of the method's config; may be repeated."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Write those of the first images only.")] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the dataset, where it cannot be told from its files.")
    ] = None,
) -> None:
    """Write what a method learns from known masks, to look at.

    Each labelled image gives NAME.npz, all targets as arrays,
    NAME_overlay.png, the outlines of its cells, and NAME_TARGET.png for
    each target: directions as colours of a wheel, energy levels from violet
    to yellow, classes each in its colour.

    For example:

      cytotome targets images/ --family watershed -o targets/

      cytotome targets synthetic:3 --family watershed -o targets/ --set distance=union
    """
    from cytotome.app.targets.run import run_targets

    count = run_targets(dataset, family, output, layout=layout, settings=tuple(settings or ()), limit=limit)
    typer.echo(f"targets of {count} images: {output}")
