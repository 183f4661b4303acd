"""``cytotome train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe that comes with the package, or a YAML file.")],
    data: Annotated[list[str], typer.Option("--data", "-d", help="Dataset; may be repeated. See cytotome data info.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model, its logs and checkpoints.")],
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the datasets, where it cannot be told from their files.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option("--fold", min=0, help="Validation fold that is not trained on; all else is.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a field of the recipe; may be repeated."),
    ] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="NAME", help="Train only this stage; may be repeated. Default: all."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="MODEL", help="Start from the weights of this model, such as of a stage."),
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", help="End training after this time, with a whole schedule.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--anew", help="Resume from the last checkpoint, or train again from the start.")
    ] = True,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    devices: Annotated[
        int, typer.Option("--devices", min=1, help="GPUs, or processes on the CPU, that share each batch.")
    ] = 1,
    logger: Annotated[
        Literal["wandb", "mlflow"] | None, typer.Option("--logger", help="Log to this service, too.")
    ] = None,
) -> None:
    """Train a model by a recipe.

    To adapt a model to your own images, start with flow-finetune: it
    continues from the bundled model neurons, and needs fewer images and
    less time than training from scratch. Hold images out by --fold, so
    that the cells found in them tell what the model is worth.

    The recipe is checked whole before any work starts. After a few steps
    the command says how long training takes; at the end it counts the
    cells found in the held-out images. The folder then holds
    NAME.safetensors, ready for cytotome segment --model. A run that was
    stopped resumes from its last checkpoint when the same command is given
    again; where recipe, images or labels have changed, it says so instead.

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
