"""``cytotome evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="Folder of label maps, a submission (.csv) or COCO (.json, .json.gz).")
    ],
    truth: Annotated[str, typer.Argument(help="Dataset with the known masks. See cytotome data info.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all scores, of each image too.")
    ] = None,
    rule: Annotated[
        str, typer.Option("--rule", help="matching, or kernel for the counts of the challenge's public kernel.")
    ] = "matching",
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the dataset, where it cannot be told from its files.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option("--fold", min=0, help="Score the images of this validation fold only.")
    ] = None,
) -> None:
    """Score predictions against known masks.

    Challenge mAP, AP, precision, recall, F1, panoptic quality, AJI,
    boundary F and COCO AP: of each cell type and over all.

    Label maps are found by the names of the images, with or without
    _labels, in subfolders too; the cells.csv of cytotome segment beside
    them gives scores. An image without a prediction counts as one where
    nothing was found.

    For example:

      cytotome evaluate results/ sartorius/ --fold 0

      cytotome evaluate submission.csv sartorius/ --json scores.json
    """
    from cytotome.app.evaluating import run_evaluate

    typer.echo(run_evaluate(predictions, truth, json_file=json_file, rule=rule, layout=layout, fold=fold))
