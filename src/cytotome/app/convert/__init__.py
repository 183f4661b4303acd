"""``cytotome convert``."""
