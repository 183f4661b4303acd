"""``cytotome models``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List the bundled models; show the card of a model.", no_args_is_help=True)


@app.command("list")
def list_all() -> None:
    """List the bundled models, and the recipes and families for training others."""
    from cytotome.families import family_names
    from cytotome.models.registry import bundled_ensembles, ensemble_card, list_models
    from cytotome.training.recipe import recipe_names

    entries = list_models()
    for entry in entries:
        size = entry.path.stat().st_size / 1e6
        typer.echo(f"{entry.name:<18}{entry.header.card.summary or entry.header.family} ({size:.1f} MB)")
    for name, path in bundled_ensembles().items():
        typer.echo(f"{name:<18}{ensemble_card(path).summary}")
    if not entries:
        typer.echo("this installation has no bundled models; train one with cytotome train")
    typer.echo(f"recipes:          {', '.join(recipe_names())} (for your own images, start with flow-finetune)")
    typer.echo(f"families:         {', '.join(family_names())}")


@app.command("show")
def show(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, a model file or an ensemble file.")],
) -> None:
    """Show the card of a model or ensemble: its purpose, training data, licence, scores and parameters."""
    from cytotome.models.header import read_header
    from cytotome.models.registry import bundled_ensembles, find_model

    model = str(bundled_ensembles().get(model, model))
    if model.lower().endswith((".yaml", ".yml")):
        typer.echo(_ensemble_text(model))
        return
    path = find_model(model)
    header = read_header(path)
    normalisation = header.normalisation
    typer.echo(header.card.text())
    typer.echo(f"family    {header.family}")
    typer.echo(f"config    {_pairs(header.config)}")
    typer.echo(f"decode    {_pairs(header.parameters)}")
    typer.echo(f"levels    percentiles {normalisation.low:g} and {normalisation.high:g} to 0 and 1")
    typer.echo(f"file      {path} ({path.stat().st_size / 1e6:.1f} MB)")
    typer.echo(f"hash      {header.digest}")


def _ensemble_text(path: str) -> str:
    from cytotome.ensemble.file import read_ensemble
    from cytotome.ensemble.load import describe_members, member_path
    from cytotome.models.header import read_header

    file = read_ensemble(path)
    sizes = file.card.cell_sizes or read_header(member_path(file.members[0], Path(path).parent)).card.cell_sizes
    cells = f"cells     {sizes.text()}" if sizes and not file.card.cell_sizes else ""
    lines = [file.card.text(), cells, describe_members(file), f"fusion    {_pairs(file.fusion.model_dump())}"]
    lines += [f"{name:<10}{_pairs(values)}" for name, values in file.by_class.items()]
    return "\n".join([*filter(None, lines), f"hash      {file.digest}"])


def _pairs(values: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
