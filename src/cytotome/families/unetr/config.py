"""What can be set of the UNETR family."""

from __future__ import annotations

from cytotome.nets.unetr_config import UnetrConfig
from cytotome.ops.foreground_parameters import ForegroundParameters

__all__ = ["ForegroundParameters", "UnetrConfig"]
