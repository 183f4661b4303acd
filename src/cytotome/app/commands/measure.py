"""``cytotome measure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytotome.app.console import FAILED


def measure(
    masks: Annotated[
        Path, typer.Argument(help="Folder of label maps (such as NAME_labels.tif), COCO file or submission CSV.")
    ],
    images: Annotated[str, typer.Argument(help="Folder of the images that the masks belong to.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the tables; made where it is missing.")],
    microns: Annotated[
        float | None, typer.Option("--microns", help="Microns per pixel, in the place of what the files say.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace tables that are there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and warnings.")] = False,
) -> None:
    """Measure cells whose masks are known already.

    Label maps that were corrected by hand, or made by another program, give
    the same cells.csv (a row a cell) and images.csv (a row an image) that
    segment writes. Masks and images are matched by their names. An image
    whose masks do not fit gives one line, and the exit code is 2.

    For example:

      cytotome measure results/ plate/ -o measured/

      cytotome measure corrected/ plate/ -o measured/ --microns 0.65
    """
    from cytotome.app.measuring import MeasureOptions, run_measure

    if run_measure(masks, images, MeasureOptions(output, microns, overwrite, quiet)):
        raise typer.Exit(FAILED)
