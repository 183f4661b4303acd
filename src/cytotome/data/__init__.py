"""Conversion of samples to batches: normalisation, augmentation, sampling."""
