"""``cytotome pseudolabel``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cytotome.app.console import FAILED, progress, say, warn_of_failures
from cytotome.errors import ConfigError

CONFIDENCE = 0.6


def pseudolabel(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... UNLABELLED",
            help="Models (names or files), then a folder of images or a dataset, whose labelled images are skipped.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the dataset; created if it does not exist.")
    ],
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the dataset; detected from its files by default.")
    ] = None,
    confidence: Annotated[
        list[str] | None,
        typer.Option(
            "--confidence",
            metavar="[TYPE=]VALUE",
            help="Minimum score of a label, 0.6 by default; can be repeated, once per cell type.",
        ),
    ] = None,
    agreement: Annotated[
        float, typer.Option("--agreement", help="Minimum IoU between the models, if there are several.")
    ] = 0.6,
    candidate: Annotated[
        float, typer.Option("--candidate", help="Cells with a lower score count as background.")
    ] = 0.15,
    margin: Annotated[
        int, typer.Option("--margin", help="Width of the ignored border around an uncertain cell, in pixels.")
    ] = 2,
    tta: Annotated[bool, typer.Option("--tta/--no-tta", help="Average over flips and quarter turns.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output of an earlier run.")] = False,
    device: Annotated[str, typer.Option("--device", help="Device: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="Number format: auto, float32 or bfloat16.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Label unlabelled images with trained models, for training.

    Cells with a high score become labels; uncertain cells become regions
    that training ignores. If several models are given, each of them must
    find the cell. The output folder is a dataset like any other: train on
    it together with the real labels, with a sampling weight of its own, and
    repeat with the new model and another folder.

    If an image cannot be read, one line says why, the other images are
    labelled, and the exit code is 2.

    For example:

      cytotome pseudolabel run-0/flow.safetensors run-1/flow.safetensors unlabelled/ -o pseudo/

      cytotome pseudolabel neurons images/ -o pseudo/ --confidence 0.6 --confidence astro=0.4

      cytotome train flow -d mine/ -d pseudo/ -o run/ --set "sampling.sources={pseudo: {weight: 0.5}}"
    """
    from cytotome.app.opening import open_and_warn
    from cytotome.inference.model import load_single_model
    from cytotome.pseudolabels.agreement import PseudoLabelSettings
    from cytotome.pseudolabels.dataset import write_pseudolabels

    if len(inputs) < 2:
        raise ConfigError(f"pseudolabel: expected one or more models followed by images, got only {inputs[0]!r}")
    general, by_type = parse_confidence(confidence or [])
    settings = PseudoLabelSettings(general, by_type, agreement, candidate, margin, tta)
    models = [load_single_model(name, device=device, precision=precision) for name in inputs[:-1]]
    dataset = open_and_warn(inputs[-1], layout=layout)
    count = sum(not info.is_labelled for info in dataset.infos)
    with progress(count, quiet=quiet) as advance:
        tally = write_pseudolabels(models, dataset, output, settings, overwrite=overwrite, advance=advance)
    cells = ", ".join(f"{number} {name}" for name, number in tally.kept.items())
    say(
        f"{tally.images} of {count} images labelled; cells: {cells}; {tally.ignored:.1%} of the pixels ignored; "
        f"{output}",
        quiet=quiet,
    )
    if tally.empty:
        say(
            f"{len(tally.empty)} images without a certain cell are left out, the first is {tally.empty[0]}", quiet=quiet
        )
    warn_of_failures(tally.failures, count, "labelled")
    if tally.failures:
        raise typer.Exit(FAILED)


def parse_confidence(texts: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Parses ``VALUE`` and ``TYPE=VALUE`` texts to the general value and the values by cell type.

    Raises:
        ConfigError: if any has another form; all such texts are listed.
    """
    general, by_type, faults = CONFIDENCE, dict[str, float](), []
    for text in texts:
        name, equals, value = text.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            faults.append(repr(text))
            continue
        if equals and name.strip():
            by_type[name.strip()] = number
        elif equals:
            faults.append(repr(text))
        else:
            general = number
    if faults:
        raise ConfigError(f"--confidence {', '.join(faults)}: expected VALUE or TYPE=VALUE, such as astro=0.4")
    return general, by_type
