"""``cytotome compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytotome.app.console import FAILED, resumable


def compare(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Images with known cells. See cytotome data info.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of models, results and the page.")],
    recipes: Annotated[
        list[str] | None,
        typer.Option("--recipe", "-r", help="Train by this recipe; may be repeated. Default: one of each family."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A trained model: MODEL, MODEL:FOLD or MODEL:0,MODEL:1; may be repeated."),
    ] = None,
    folds: Annotated[str, typer.Option("--folds", help="Validation folds to train for, such as 0,1.")] = "0",
    budget: Annotated[str, typer.Option("--budget", help="Time for all: 90s, 30m, 2h.")] = "2h",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a field of every recipe.")
    ] = None,
    layout: Annotated[str | None, typer.Option("--layout", help="Layout of the dataset.")] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Average over flips and quarter turns.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Find out which method suits your images.

    Trains each method for its part of the budget, or takes models that you
    give; scores all on the same held-out images; fuses them. The folder then
    holds compare.html (scores of each cell type, ceiling, speed, memory,
    size, licence, best and worst pictures, what an ensemble gains, and a
    recommendation), compare.csv, and the models. A run that was stopped goes
    on where it was when the same command is given again.

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
