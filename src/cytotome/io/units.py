"""Units of length as image files name them."""

from __future__ import annotations

import re
import unicodedata

_POWERS = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "": 0, "d": -1, "c": -2,
    "m": -3, "u": -6, "μ": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
_METRES = {f"{prefix}m": 10.0 ** (power + 6) for prefix, power in _POWERS.items()}
_INCH = 25400.0
_OTHERS = {
    "Å": 1e-4,
    "μ": 1.0,
    "thou": _INCH / 1000,
    "li": _INCH / 12,
    "in": _INCH,
    '"': _INCH,
    "ft": 12 * _INCH,
    "yd": 36 * _INCH,
    "mi": 63360 * _INCH,
    "pt": _INCH / 72,
    "ua": 1.495978707e17,
    "ly": 9.4607304725808e21,
    "pc": 3.0856775814913673e22,
}
_WORDS = {
    "micron": 1.0,
    "inch": _INCH,
    "inche": _INCH,  # inches, without its s
    "angstrom": 1e-4,
    "ångstrom": 1e-4,
    "ångström": 1e-4,
    "um": 1.0,
    "μm": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
}
_WORD_POWERS = {"": 0, "centi": -2, "milli": -3, "micro": -6, "nano": -9, "pico": -12}
_WORDS |= {
    f"{prefix}{metre}": 10.0 ** (power + 6) for prefix, power in _WORD_POWERS.items() for metre in ("meter", "metre")
}
NO_LENGTH = ("", "pixel", "pixels", "px", "reference frame", "none", "null")
"""Names that files use if they have no unit, in lower case."""


def microns_per(unit: str) -> float | None:
    r"""Microns per unit of length, None if the unit is unknown.

    Known are all units of OME (``UnitsLength`` of the 2016-06 schema, case-sensitive) and the words that ImageJ and its
    users write, in any case, singular or plural. A micro sign may be a Greek mu, an escape such as ``\u00B5`` with one
    backslash or several, or UTF-8 that was read as Latin-1.
    """
    text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), unit)
    text = unicodedata.normalize("NFKC", text.replace("Â", "")).strip()
    symbols = _METRES | _OTHERS
    word = text.lower()
    return symbols.get(text) or _WORDS.get(word) or _WORDS.get(word.removesuffix("s"))
