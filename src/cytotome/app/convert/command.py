"""``cytotome convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytotome.app.console import FAILED


def convert(
    masks: Annotated[
        Path, typer.Argument(help="Labelled images; or, with IMAGES, masks in any format that measure reads.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write; for coco and submission the file to write.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to", help="labels, coco, coco-polygons, submission, geojson (QuPath), imagej, yolo, or a plugin's."
        ),
    ],
    images: Annotated[
        str | None, typer.Argument(help="Folder of the images that the masks belong to; by default those of MASKS.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the dataset; detected from its files by default.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.")] = False,
) -> None:
    """Convert masks to the format of another tool.

    Masks, numbers, scores and classes of cells are kept if the format has
    them; what it cannot store is counted and reported. Masks and images are
    matched by name.
    If the masks of an image cannot be converted, one line says why, and the
    exit code is 2.

    For example:

      cytotome convert results/ plate/ -o rois/ --to imagej

      cytotome convert sartorius/ -o truth.json --to coco

      cytotome convert edited/ plate/ -o labels/ --to labels
    """
    from cytotome.app.convert.run import ConvertOptions, run_convert

    if run_convert(masks, images, ConvertOptions(output, to, layout, overwrite, quiet)):
        raise typer.Exit(FAILED)
