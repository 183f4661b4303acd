"""``python -m cytotome``, the same as the command ``cytotome``."""

from __future__ import annotations

from cytotome.app.cli import main

if __name__ == "__main__":
    main()
