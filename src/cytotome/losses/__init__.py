"""Losses shared by two or more families."""
