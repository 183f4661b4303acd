"""``cytotome submit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytotome.app.console import FAILED


def submit(
    predictions: Annotated[
        str, typer.Argument(help="Label maps (folder), COCO or CSV; or, with --model, the images themselves.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The submission, a CSV.")],
    images: Annotated[str | None, typer.Option("--images", help="Folder of the images that must have a row.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Segment the images first, by this model or ensemble.")
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", help="Time for all; images that it does not reach get an empty row."),
    ] = None,
    overlaps: Annotated[
        str, typer.Option("--overlaps", help="Who gets a shared pixel: score, area, or drop (over 20 % lost).")
    ] = "score",
    tta: Annotated[bool, typer.Option("--tta", help="With --model: average over flips and quarter turns.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and warnings.")] = False,
) -> None:
    """Write a submission to the rule of the Sartorius challenge.

    Cells do not overlap, runs go row by row, every image has a row; the file
    is read back and checked before the command ends. Nothing is downloaded.
    Where an image has no prediction its row is empty and the exit code is 2.

    For example:

      cytotome submit results/ --images sartorius/test -o submission.csv

      cytotome submit sartorius/test --model ensemble.yaml --max-minutes 540 -o submission.csv
    """
    from typing import cast

    from cytotome.app.submit.run import SubmitOptions, run_submit
    from cytotome.ops.labels import OverlapPolicy

    options = SubmitOptions(
        output=output,
        images=images,
        model=model,
        max_minutes=max_minutes,
        policy=cast(OverlapPolicy, overlaps),
        tta=tta,
        device=device,
        quiet=quiet,
    )
    if run_submit(predictions, options):
        raise typer.Exit(FAILED)
