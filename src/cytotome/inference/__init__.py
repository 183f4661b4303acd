"""Tiling, test-time augmentation, prediction; the model object that a user holds."""
