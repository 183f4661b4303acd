"""Labels of unlabelled images from trained models."""
