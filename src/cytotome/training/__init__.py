"""Recipes and the training engine."""
