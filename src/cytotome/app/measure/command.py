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
        float | None, typer.Option("--microns", help="Microns per pixel, instead of what the files say.")
    ] = None,
    page: Annotated[
        str | None,
        typer.Option("--page", help="Page of multi-page files to measure, or all; by default the one segmented."),
    ] = None,
    channel: Annotated[
        str | None, typer.Option("--channel", help="Colour to measure (red, green, blue) instead of the luminance.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace tables that are there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and warnings.")] = False,
) -> None:
    """Measure cells whose masks are known already.

    Label maps that were corrected by hand, or made by another program, give
    the same cells.csv (a row a cell) and images.csv (a row an image) that
    segment writes. Masks and images are matched by their names. Microns are
    those of --microns, of the masks, or of the image, the first that is known.
    An image whose masks do not fit gives one line, and the exit code is 2.

    For example:

      cytotome measure results/ plate/ -o measured/

      cytotome measure corrected/ plate/ -o measured/ --microns 0.65

      cytotome measure results/ stacks/ -o second_channel/ --page 1
    """
    from cytotome.app.measure.run import MeasureOptions, run_measure
    from cytotome.app.options import parse_page

    options = MeasureOptions(output, microns, parse_page(page), channel, overwrite, quiet)
    if run_measure(masks, images, options):
        raise typer.Exit(FAILED)
