"""``cytotome samples``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def samples(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to copy the images to.")],
) -> None:
    """Copy example images with masks to a folder, to try the other commands.

    Three images of nuclei in fluorescence (CC0) and one of glioblastoma
    cells in phase contrast (MIT licence). README.md states their origin.

    For example:

      cytotome samples samples/

      cytotome segment samples/nuclei/images -o results/ --model nuclei

      cytotome evaluate results/ samples/nuclei
    """
    from cytotome.app.console import say
    from cytotome.datasets.samples import copy_samples

    for copy in copy_samples(folder):
        say(str(copy))
    say(f"try: cytotome segment {folder / 'nuclei' / 'images'} -o results/ --model nuclei")
