"""Prediction with models: scale, tiling, test-time augmentation and streams of images.

Models are opened with :func:`cytotome.ensemble.load.load_model`.
"""
