"""``cytotome targets``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def targets(
    dataset: Annotated[str, typer.Argument(metavar="DATA", help="Labelled images; see cytotome data info.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results; created if it does not exist.")
    ],
    family: Annotated[str, typer.Option("--family", "-f", help="Method; see cytotome models list.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a field of the method's config; can be repeated."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Number of images, from the first; all by default.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the dataset; detected from its files by default.")
    ] = None,
) -> None:
    """Write the training targets of a method as pictures and arrays.

    For each labelled image: NAME.npz (all targets as arrays),
    NAME_overlay.png (the outlines of its cells) and NAME_TARGET.png for each
    target, with directions as colours of a wheel, energy levels from violet
    to yellow, and one colour per class.

    For example:

      cytotome targets images/ --family watershed -o targets/

      cytotome targets synthetic:3 --family watershed -o targets/ --set distance=union
    """
    from cytotome.app.targets.run import run_targets

    count = run_targets(dataset, family, output, layout=layout, settings=tuple(settings or ()), limit=limit)
    typer.echo(f"targets of {count} images: {output}")
