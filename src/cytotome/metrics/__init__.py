"""Metrics: matching and scores, exactly as defined."""
