"""The command ``cytotome``, and ``python -m cytotome``."""

from __future__ import annotations

import os
import signal
from types import FrameType

STOPPED = 130
"""Exit code of a command interrupted by the user."""


def main() -> None:
    """Runs the command line. Ctrl-C prints one line at any time, also while modules are imported."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if it is ignored, as under nohup
        signal.signal(signal.SIGINT, _stop)
    from cytotome.app.cli import main as run

    run()


def _stop(number: int, frame: FrameType | None) -> None:
    """Ends the process immediately during an import, where an exception could be swallowed or replaced."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            os.write(2, b"stopped\n")
            os._exit(STOPPED)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
