"""``cytotome submit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytotome.app.console import FAILED


def submit(
    predictions: Annotated[
        str, typer.Argument(help="Folder of label maps, COCO file or submission (.csv); with --model, the images.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Submission file (.csv) to write.")],
    images: Annotated[str | None, typer.Option("--images", help="Folder of the images that must have a row.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Segment the images with this model or ensemble first.")
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", help="Time limit; images that are not reached get an empty row."),
    ] = None,
    overlaps: Annotated[
        str,
        typer.Option(
            "--overlaps", help="Which cell keeps a shared pixel: score, area, or drop (cells that lose over 20 % go)."
        ),
    ] = "score",
    tta: Annotated[bool, typer.Option("--tta", help="With --model: average over flips and quarter turns.")] = False,
    device: Annotated[str, typer.Option("--device", help="Device: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.")] = False,
) -> None:
    """Write a submission that follows the rules of the Sartorius challenge.

    Masks do not overlap, runs are row-major, and every image has a row; the
    file is read back and checked at the end. Nothing is downloaded.
    If an image has no prediction, its row is empty and the exit code is 2.

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
