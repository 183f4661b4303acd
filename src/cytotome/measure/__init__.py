"""Morphology and counts of instances."""
