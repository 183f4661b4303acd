"""Model files, cards and the registry."""
