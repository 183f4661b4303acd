"""``cytotome warmup``."""

from __future__ import annotations

from typing import Annotated

import typer


def warmup(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Compile the kernels of segment, measure and evaluate in advance.

    Without it, the first run after installation compiles them, which takes
    up to a minute. The compiled code is kept next to the package if that
    folder is writable, otherwise in NUMBA_CACHE_DIR or the cache folder of
    the user. Use it when you build a container image or an environment that
    several users share.

    For example:

      cytotome warmup
    """
    from cytotome.app.warmup.run import run_warmup

    run_warmup(quiet=quiet)
