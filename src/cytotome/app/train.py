"""``cytotome train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a bundled recipe, or a recipe file (.yaml).")],
    data: Annotated[
        list[str], typer.Option("--data", "-d", help="Labelled images; can be repeated. See cytotome data info.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the model, its logs and checkpoints.")],
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the datasets; detected from their files by default.")
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option("--fold", min=0, help="Fold to hold out for validation; by default, all images are trained on."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a field of the recipe; can be repeated."),
    ] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="NAME", help="Train only this stage; can be repeated. Default: all stages."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", metavar="MODEL", help="Start from the weights of this model, such as one of an earlier stage."
        ),
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", help="Time limit of training; the schedule is shortened to fit.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--anew", help="Resume from the last checkpoint, or train from the start.")
    ] = True,
    device: Annotated[str, typer.Option("--device", help="Device: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    devices: Annotated[
        int, typer.Option("--devices", min=1, help="Number of GPUs, or of processes on the CPU, that share each batch.")
    ] = 1,
    logger: Annotated[
        Literal["wandb", "mlflow"] | None, typer.Option("--logger", help="Also log to this service.")
    ] = None,
) -> None:
    """Train a model with a recipe.

    To adapt a model to your own images, start with flow-finetune: it starts
    from the bundled model neurons, and needs fewer images and less time than
    training from scratch. Hold out images with --fold to measure how well
    the model finds cells in new images.

    The recipe is validated before any work starts. After a few steps, the
    command estimates how long training will take; at the end, it compares
    the cells found in the held-out images with the known ones. The output
    folder then holds NAME.safetensors, for cytotome segment --model.
    The same command resumes an interrupted run from its last checkpoint; if
    the recipe, the images or the labels have changed, it reports this.

    For example:

      cytotome train flow-finetune --data my_images/ --fold 0 -o run/

      cytotome train flow --data synthetic:40 --fold 0 -o run/ --max-minutes 30

      cytotome train neurons --data sartorius/ --fold 0 -o run/ --set schedule.steps=4000

      cytotome train watershed --data images/ -o b/ --stage direction --weights a/watershed.safetensors
    """
    import json

    from cytotome.app.console import resumable
    from cytotome.app.options import check_extra

    check_extra("Lightning", "training")
    from cytotome.training.train import train as run_training

    chosen = [f"schedule.only={json.dumps(stages)}"] if stages else []
    chosen += [f"weights={json.dumps(weights)}"] if weights else []
    with resumable():
        run_training(
            recipe,
            data,
            output=output,
            layout=layout,
            fold=fold,
            resume=resume,
            max_minutes=max_minutes,
            overrides=(*(settings or ()), *chosen),
            device=device,
            devices=devices,
            logger=logger,
        )
