"""``cytotome segment``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytotome.app.console import FAILED, resumable


def segment(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Images, folders (with their subfolders) or quoted globs.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results; made where it is missing.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A bundled model's name, a model file or an ensemble file (.yaml).")
    ] = "neurons",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Segment what is done again; replace files that are there.")
    ] = False,
    page: Annotated[
        str | None, typer.Option("--page", help="Page of multi-page files, counted from 0; or all, each by itself.")
    ] = None,
    microns: Annotated[
        float | None, typer.Option("--microns", help="Microns per pixel, instead of what the files say.")
    ] = None,
    diameter: Annotated[
        float | None, typer.Option("--diameter", metavar="PIXELS", help="Typical diameter of your cells in pixels.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", metavar="FACTOR", help="Resize images for the model; 1 keeps them as they are."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Override a parameter of the decoder; may be repeated."),
    ] = None,
    tta: Annotated[
        bool, typer.Option("--tta", help="Average over flips and quarter turns: better, eight times slower.")
    ] = False,
    tile: Annotated[
        int | None, typer.Option("--tile", min=64, help="Side of the tiles of large images, where memory is short.")
    ] = None,
    overlays: Annotated[bool, typer.Option("--overlay/--no-overlay", help="Write a picture of the outlines.")] = True,
    maps: Annotated[bool, typer.Option("--maps", help="Write pictures of the network's maps.")] = False,
    coco: Annotated[
        bool, typer.Option("--coco", help="Write cells.json too: each mask whole, also where cells overlap.")
    ] = False,
    exports: Annotated[
        list[str] | None,
        typer.Option("--export", metavar="NAME", help="Write a format of an installed plugin too; may be repeated."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="auto, float32 or bfloat16.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Find the cells of images.

    Each image gives NAME_labels.tif, a label map where 0 is background, and
    NAME_overlay.png, outlines to check by. All images together give
    cells.csv (a row a cell, in pixels and microns), images.csv (a row an
    image) and run.json (model, parameters, versions, timings). Subfolders
    are mirrored.

    What is done is skipped, so that a run that was stopped resumes. A label
    map that you corrected is kept, and the tables follow it.
    An image that cannot be used gives one line, the others still go
    through, and the exit code is 2.

    For example:

      cytotome segment plate/ -o results/

      cytotome segment "plate/**/*.tif" -o results/ --model nuclei --microns 0.65

      cytotome segment plate/ -o results/ --diameter 60

      cytotome segment a.png b.png -o results/ --set min_area=40

      cytotome segment timelapse.tif -o results/ --page all
    """
    from cytotome.app.options import parse_page
    from cytotome.app.segment.settings import SegmentOptions

    options = SegmentOptions(
        model=model,
        overwrite=overwrite,
        page=parse_page(page),
        microns=microns,
        diameter=diameter,
        scale=scale,
        settings=tuple(settings or ()),
        tta=tta,
        tile=tile,
        overlays=overlays,
        maps=maps,
        coco=coco,
        exports=tuple(exports or ()),
        device=device,
        precision=precision,
        quiet=quiet,
    )
    with resumable():
        from cytotome.app.segment.run import run_segment

        failures = run_segment(inputs, output, options)
    if failures:
        raise typer.Exit(FAILED)
