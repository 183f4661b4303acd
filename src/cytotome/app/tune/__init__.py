"""``cytotome tune``."""
