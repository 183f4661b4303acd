"""``cytotome compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytotome.app.console import FAILED, resumable


def compare(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Labelled images; see cytotome data info.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the models, the results and the report.")],
    recipes: Annotated[
        list[str] | None,
        typer.Option("--recipe", "-r", help="Recipe to train; can be repeated. Default: one recipe per family."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Trained model: MODEL, MODEL:FOLD or MODEL:0,MODEL:1; can be repeated."),
    ] = None,
    folds: Annotated[
        str, typer.Option("--folds", help="Validation folds, such as 0,1; one model is trained per fold.")
    ] = "0",
    budget: Annotated[
        str, typer.Option("--budget", help="Total time, such as 90s, 30m or 2h; four fifths are for training.")
    ] = "2h",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a field of every recipe.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the dataset; detected from its files by default.")
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Average over flips and quarter turns.")] = False,
    device: Annotated[str, typer.Option("--device", help="Device: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Compare methods on your images.

    Trains each method for an equal share of the budget, or takes trained
    models; scores all of them on the same held-out images; and fuses them.
    The output folder then holds compare.html (scores per cell type,
    representation ceiling, speed, memory, size, licence, best and worst
    images, the gain of an ensemble, and a recommendation), compare.csv and
    the models. The same command resumes an interrupted run.

    For example:

      cytotome compare images/ -o bakeoff/ --budget 2h

      cytotome compare sartorius/ -o bakeoff/ -m a/flow.safetensors:0 -m b/unetr.safetensors:0
    """
    from cytotome.app.compare.run import CompareOptions, parse_budget, run_compare
    from cytotome.errors import ConfigError

    try:
        chosen = tuple(int(fold) for fold in folds.split(","))
    except ValueError:
        raise ConfigError(f"folds: expected numbers such as 0,1, got {folds!r}") from None
    options = CompareOptions(
        output=output,
        recipes=tuple(recipes or ()),
        models=tuple(models or ()),
        folds=chosen,
        budget_seconds=parse_budget(budget),
        layout=layout,
        tta=tta,
        device=device,
        settings=tuple(settings or ()),
        quiet=quiet,
    )
    with resumable():
        failures = run_compare(data, options).failures
    if failures:
        raise typer.Exit(FAILED)
