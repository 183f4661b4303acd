"""What ``cytotome pseudolabel`` reads of its options."""

from __future__ import annotations

from collections.abc import Sequence

from cytotome.errors import ConfigError

CONFIDENCE = 0.6


def parse_confidence(texts: Sequence[str]) -> tuple[float, dict[str, float]]:
    """``VALUE`` and ``TYPE=VALUE`` texts as the general value and those by cell type.

    Raises:
        ConfigError: where one has another form, all such at once.
    """
    general, by_type, faults = CONFIDENCE, dict[str, float](), []
    for text in texts:
        name, equals, value = text.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            faults.append(repr(text))
            continue
        if equals and name.strip():
            by_type[name.strip()] = number
        elif equals:
            faults.append(repr(text))
        else:
            general = number
    if faults:
        raise ConfigError(f"--confidence {', '.join(faults)}: expected VALUE or TYPE=VALUE, such as astro=0.4")
    return general, by_type
