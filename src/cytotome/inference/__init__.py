"""Tiling, test-time augmentation, prediction; the model object that a user holds.

:func:`cytotome.inference.model.load_model` is the way in.
"""
