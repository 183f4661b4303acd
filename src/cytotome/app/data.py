"""``cytotome data``."""

from __future__ import annotations

from typing import Annotated

import typer

from cytotome.app.console import FAILED, progress, warn_of_failures

app = typer.Typer(help="Inspect datasets.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Inspect datasets."""


@app.command("info")
def info(
    dataset: Annotated[str, typer.Argument(metavar="DIR", help="Folder, COCO file, or synthetic:COUNT.")],
    layout: Annotated[
        str | None, typer.Option("--layout", help="sartorius, livecell, coco, folders or synthetic.")
    ] = None,
) -> None:
    """Count the images and cells of a dataset per cell type; show sizes, overlaps and defects.

    Reads every image and its masks. Images that are missing, damaged or of
    a size that differs from their masks are named, and the exit code is 2.

    The layout is detected from the files: train.csv (Sartorius challenge),
    livecell_coco_*.json, one COCO file, or images/ with labels/.

    For example:

      cytotome data info images/

      cytotome data info synthetic:20
    """
    from cytotome.datasets import open_dataset, summary

    data = open_dataset(dataset, layout=layout)
    with progress(len(data), quiet=False) as advance:
        found = summary(data, advance=advance)
    typer.echo(str(found))
    if found.unusable:
        warn_of_failures(found.unusable, len(data), "used")
        raise typer.Exit(FAILED)
