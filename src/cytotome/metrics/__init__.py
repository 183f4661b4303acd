"""Matching and scores, exact to the rule."""
