"""``cytotome tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def tune(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Model, MODEL:FOLD, or MODEL:0,MODEL:1 for one method's fold models."),
    ],
    data: Annotated[str, typer.Option("--data", "-d", help="Images with known cells. See cytotome data info.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file, or ensemble file (.yaml).")],
    layout: Annotated[str | None, typer.Option("--layout", help="Layout of the dataset.")] = None,
    fold: Annotated[int | None, typer.Option("--fold", min=0, help="Tune on images of this fold only.")] = None,
    search: Annotated[
        str, typer.Option("--search", help="optuna, or greedy for one setting after the other.")
    ] = "optuna",
    trials: Annotated[int, typer.Option("--trials", help="Settings of the decoder that optuna tries.")] = 30,
    seed: Annotated[int, typer.Option("--seed", help="Of the search.")] = 0,
    tta: Annotated[
        bool, typer.Option("--tta", help="Tune on predictions averaged over flips and quarter turns.")
    ] = False,
    training: Annotated[
        bool,
        typer.Option("--training", help="Tune on the images that MODEL:FOLD was trained on; score on the fold's."),
    ] = False,
    cell_type: Annotated[
        str,
        typer.Option("--cell-type", help="Of an image, for an ensemble: majority of what is found, or classifier."),
    ] = "majority",
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder of the networks' outputs; beside the result by default.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and warnings.")] = False,
) -> None:
    """Tune a model's decoder, or the fusion of several models.

    The images must not have been trained on: give MODEL:FOLD for a model
    that was trained with --fold FOLD, and only the images of that fold are
    used. Each network runs once an image; then the settings are searched on
    what it gave, over all images and for each cell type. The scores that
    are shown are of images that the settings were not chosen on, with the
    interval of the gain, and a warning where the gain may be chance.

    With --training the settings are tuned on the images that the models
    were trained on. That is fair to networks that do hardly better on these
    than on new ones, as after short training, and leaves all images of the
    fold for the score.

    One model gives a model file, several an ensemble file that cytotome
    segment --model takes.

    For example:

      cytotome tune run/flow.safetensors:0 -d sartorius/ -o tuned.safetensors

      cytotome tune a0.safetensors:0,a1.safetensors:1 b0.safetensors:0,b1.safetensors:1 -d sartorius/ -o both.yaml
    """
    from cytotome.app.tune.run import TuneOptions, run_tune

    options = TuneOptions(
        output=output,
        layout=layout,
        fold=fold,
        search=search,
        trials=trials,
        seed=seed,
        tta=tta,
        training=training,
        cell_type=cell_type,
        cache=cache,
        device=device,
        quiet=quiet,
    )
    run_tune(models, data, options)
