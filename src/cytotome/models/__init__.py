"""Model files, cards and the registry.

:mod:`cytotome.models.registry`, :mod:`~cytotome.models.header` and :mod:`~cytotome.models.card` import no torch;
:mod:`~cytotome.models.file` does.
"""
