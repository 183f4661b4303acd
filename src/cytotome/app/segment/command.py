"""``cytotome segment``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytotome.app.console import FAILED, resumable


def segment(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Images, folders (searched recursively) or quoted glob patterns."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results; created if it does not exist.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name of a bundled model, a model file or an ensemble file (.yaml).")
    ] = "neurons",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Segment all images again and replace existing files.")
    ] = False,
    page: Annotated[
        str | None, typer.Option("--page", help="Page of multi-page files, counted from 0, or all.")
    ] = None,
    microns: Annotated[
        float | None, typer.Option("--microns", help="Pixel size in microns; by default read from the files.")
    ] = None,
    diameter: Annotated[
        float | None, typer.Option("--diameter", metavar="PIXELS", help="Typical diameter of your cells in pixels.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale",
            metavar="FACTOR",
            help="Factor by which images are resized for the model; 1 keeps them as they are.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Override a parameter of the decoder; can be repeated."),
    ] = None,
    tta: Annotated[
        bool, typer.Option("--tta", help="Average over flips and quarter turns: more accurate, eight times slower.")
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile", min=64, help="Side of the tiles of large images in pixels; smaller tiles need less memory."
        ),
    ] = None,
    overlays: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Write a picture with the outlines of the cells.")
    ] = True,
    maps: Annotated[bool, typer.Option("--maps", help="Write pictures of the maps that the network predicts.")] = False,
    coco: Annotated[
        bool, typer.Option("--coco", help="Also write cells.json (COCO), which keeps overlapping masks whole.")
    ] = False,
    exports: Annotated[
        list[str] | None,
        typer.Option(
            "--export",
            metavar="NAME",
            help="Also write geojson (QuPath), imagej (ROIs), yolo, or a plugin's format; can be repeated.",
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Device: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="Number format: auto, float32 or bfloat16.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Segment the cells of images.

    For each image, the output folder receives NAME_labels.tif (a label map,
    0 is background) and NAME_overlay.png (outlines, for checking); for the
    run, cells.csv (one row per cell, in pixels and microns), images.csv (one
    row per image) and run.json (model, parameters, versions and timings).
    Subfolders are kept.

    Finished images are skipped, so the same command resumes an interrupted run. A label map that you have corrected is
    kept, and the tables are computed from it. If an image cannot be read, one line says why, the other images are
    segmented, and the exit code is 2.

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
