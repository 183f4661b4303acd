"""The command line ``cytotome``. Heavy imports are delayed until a command needs them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
import typer.core

from cytotome.app import data, models
from cytotome.app.compare.command import compare
from cytotome.app.console import FAILED, STOPPED, warn
from cytotome.app.convert.command import convert
from cytotome.app.evaluate import evaluate
from cytotome.app.measure.command import measure
from cytotome.app.pseudolabel import pseudolabel
from cytotome.app.samples import samples
from cytotome.app.segment.command import segment
from cytotome.app.submit.command import submit
from cytotome.app.targets.command import targets
from cytotome.app.train import train
from cytotome.app.tune.command import tune
from cytotome.app.warmup.command import warmup
from cytotome.errors import CytotomeError

HELP = """Segment the cells of microscope images.

Segment all images of the folder plate/ (label maps, tables and pictures):

  cytotome segment plate/ -o results/

Train a model on your own labelled images and score its results:

  cytotome train flow-finetune --data images/ -o run/

  cytotome evaluate results/ images/

Every command has its own --help, with examples.
"""


class _Commands(typer.core.TyperGroup):
    """Commands that report in one line that the user stopped them."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            warn("stopped")
            raise typer.Exit(STOPPED) from None


app = typer.Typer(
    name="cytotome",
    cls=_Commands,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("segment")(segment)
app.command("train")(train)
app.command("pseudolabel")(pseudolabel)
app.command("targets")(targets)
app.command("measure")(measure)
app.command("convert")(convert)
app.command("evaluate")(evaluate)
app.command("tune")(tune)
app.command("submit")(submit)
app.command("compare")(compare)
app.command("samples")(samples)
app.command("warmup")(warmup)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"cytotome {version('cytotome')}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Runs the command line; errors that the user can fix are reported in one line, with exit code 2."""
    try:
        app()
    except CytotomeError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(FAILED)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        typer.echo(
            f"error: {place}{error.strerror or error}; check the path, its permissions and the free space", err=True
        )
        sys.exit(FAILED)
