"""``cytotome submit``."""
