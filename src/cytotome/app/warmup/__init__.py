"""``cytotome warmup``."""
