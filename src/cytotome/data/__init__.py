"""Samples to batches: normalisation, augmentation, sampling."""
