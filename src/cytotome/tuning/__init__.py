"""Tuning of decoders and of fusions on held-out images."""
