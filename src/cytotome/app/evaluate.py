"""``cytotome evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cytotome.errors import ConfigError, DataError

if TYPE_CHECKING:
    from cytotome.metrics.challenge import Rule

RULES = ("matching", "kernel")


def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(help="Folder of label maps, GeoJSON files or ImageJ ROI sets; COCO file or submission (.csv)."),
    ],
    truth: Annotated[str, typer.Argument(help="Labelled images; see cytotome data info.")],
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Also write all scores, including those per image, to this file."),
    ] = None,
    rule: Annotated[
        str,
        typer.Option(
            "--rule",
            help="Matching rule: matching, or kernel, which counts as the public kernel of the challenge does.",
        ),
    ] = "matching",
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the dataset; detected from its files by default.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option("--fold", min=0, help="Score the images of this validation fold only.")
    ] = None,
) -> None:
    """Score predictions against known masks.

    Prints the challenge's mAP, AP, precision, recall, F1, panoptic quality,
    AJI, boundary F and COCO AP, per cell type and over all images.

    Label maps are matched to images by name, with or without _labels, also
    in subfolders; scores of cells are read from the cells.csv that cytotome
    segment writes next to them. An image without a prediction counts as an
    image in which nothing was found.

    For example:

      cytotome evaluate results/ sartorius/ --fold 0

      cytotome evaluate submission.csv sartorius/ --json scores.json
    """
    typer.echo(run_evaluate(predictions, truth, json_file=json_file, rule=rule, layout=layout, fold=fold))


def run_evaluate(
    predictions: Path, truth: str, *, json_file: Path | None, rule: str, layout: str | None, fold: int | None
) -> str:
    """Returns the scores as text, and writes them to ``json_file``.

    Raises:
        ConfigError: if the rule or the fold does not exist.
        DataError: if predictions or truth cannot be read or have no images in common.
    """
    from cytotome.app.opening import open_and_warn, read_and_warn
    from cytotome.datasets import of_fold
    from cytotome.io.files import atomic_path
    from cytotome.metrics import evaluate as scoring

    if rule not in RULES:
        raise ConfigError(f"rule: must be one of {', '.join(RULES)}, got {rule!r}")
    dataset = open_and_warn(truth, layout=layout)
    found = read_and_warn(predictions, dataset)
    if fold is not None:
        dataset = dataset.subset(of_fold(dataset, fold))
    evaluation = scoring.evaluate(found, dataset, rule=cast("Rule", rule))
    if json_file is not None:
        try:
            with atomic_path(json_file) as temporary:
                temporary.write_text(evaluation.to_json() + "\n", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{json_file}: cannot be written ({error.strerror}); choose another file") from error
    return evaluation.to_text()
