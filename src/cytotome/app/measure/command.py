"""``cytotome measure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytotome.app.console import FAILED


def measure(
    masks: Annotated[
        Path,
        typer.Argument(help="Folder of label maps, GeoJSON files or ImageJ ROI sets; COCO file or submission (.csv)."),
    ],
    images: Annotated[str, typer.Argument(help="Folder of the images that the masks belong to.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the tables; created if it does not exist.")
    ],
    microns: Annotated[
        float | None, typer.Option("--microns", help="Pixel size in microns; by default read from the files.")
    ] = None,
    page: Annotated[
        str | None,
        typer.Option(
            "--page", help="Page of multi-page files to measure, or all; by default the page that was segmented."
        ),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option("--channel", help="Colour channel to measure: red, green or blue; by default the luminance."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.")] = False,
) -> None:
    """Measure cells from existing masks.

    Writes the same tables as segment, cells.csv (one row per cell) and
    images.csv (one row per image), from label maps that were corrected by
    hand or made by another program. Masks and images are matched by name.
    The pixel size is taken from --microns, the masks or the image, whichever
    is known first.
    If the masks of an image do not fit it, one line says why, and the exit
    code is 2.

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
