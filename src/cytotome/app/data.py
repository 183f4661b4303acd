"""``cytotome data``."""

from __future__ import annotations

from typing import Annotated

import typer

from cytotome.app.console import FAILED, progress, warn_of_failures

app = typer.Typer(help="Datasets: what they hold.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Datasets: what they hold."""


@app.command("info")
def info(
    dataset: Annotated[str, typer.Argument(metavar="DIR", help="Folder, COCO file, or synthetic:COUNT.")],
    layout: Annotated[
        str | None, typer.Option("--layout", help="sartorius, livecell, coco, folders or synthetic.")
    ] = None,
) -> None:
    """Count images and cells, by type; show sizes, overlaps and defects.

    Reads every image and its masks: one that is missing, damaged or of
    another size than its masks is named, and the exit code is 2.

    The layout is told from the files: train.csv (Sartorius challenge),
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
