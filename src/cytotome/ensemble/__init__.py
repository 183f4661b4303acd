"""Several models as one: fusion of maps and of instances, calibration of scores, steps after decoding, ensemble files.

:func:`cytotome.ensemble.load.load_model` opens both model files and ensemble files.
"""
