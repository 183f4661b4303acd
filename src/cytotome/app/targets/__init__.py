"""``cytotome targets``."""
