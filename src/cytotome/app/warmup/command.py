"""``cytotome warmup``."""

from __future__ import annotations

from typing import Annotated

import typer


def warmup(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Compile ahead what segment, measure and evaluate use.

    Otherwise the first run after installation compiles it, which takes up to
    a minute. The code is kept beside the package where that can be written,
    else in NUMBA_CACHE_DIR or the user's cache folder. Run it when an image
    of a container or an environment for several users is built.

    For example:

      cytotome warmup
    """
    from cytotome.app.warmup.run import run_warmup

    run_warmup(quiet=quiet)
