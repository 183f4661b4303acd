"""``cytotome measure``."""
