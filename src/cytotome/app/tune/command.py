"""``cytotome tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def tune(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="MODEL, MODEL:FOLD, or MODEL:0,MODEL:1 for models of one method trained on several folds.",
        ),
    ],
    data: Annotated[str, typer.Option("--data", "-d", help="Labelled images; see cytotome data info.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file, or ensemble file (.yaml), to write.")],
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the dataset; detected from its files by default.")
    ] = None,
    fold: Annotated[int | None, typer.Option("--fold", min=0, help="Tune on the images of this fold only.")] = None,
    search: Annotated[
        str, typer.Option("--search", help="Search method: optuna, or greedy (one parameter after the other).")
    ] = "optuna",
    trials: Annotated[int, typer.Option("--trials", help="Number of settings of the decoder that optuna tries.")] = 30,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the search.")] = 0,
    tta: Annotated[
        bool, typer.Option("--tta", help="Tune on predictions averaged over flips and quarter turns.")
    ] = False,
    training: Annotated[
        bool,
        typer.Option("--training", help="Tune on the training images of MODEL:FOLD; score on the images of the fold."),
    ] = False,
    cell_type: Annotated[
        str,
        typer.Option(
            "--cell-type",
            help="How an ensemble chooses the cell type of an image: majority of its cells, or classifier.",
        ),
    ] = "majority",
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder for cached network outputs; next to the result by default.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Device: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.")] = False,
) -> None:
    """Tune a model's decoder, or the fusion of several models.

    The images must not have been used for training: MODEL:FOLD stands for a
    model that was trained with --fold FOLD, and only the images of that fold
    are used. Each network runs once per image; the search then works on the
    cached outputs, over all images and per cell type. Scores are reported on
    images that the settings were not chosen on, with a confidence interval
    of the gain and a warning if the gain may be due to chance.

    With --training, the settings are tuned on the training images of the models, which leaves all images of the fold
    for the score. Use it if the networks score only slightly better on their training images than on new ones, as after
    short training.

    One model gives a model file; several models give an ensemble file. Both
    are used by cytotome segment --model.

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
