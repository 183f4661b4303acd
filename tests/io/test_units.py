"""Sizes of pixels by the names of units that programs write."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from cytotome.io.images import read_image
from cytotome.io.units import microns_per

GREY = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)

# UnitsLength of the OME schema of 2016-06, in microns by the definition of each unit.
OME_LENGTHS = {
    "Ym": 1e30, "Zm": 1e27, "Em": 1e24, "Pm": 1e21, "Tm": 1e18, "Gm": 1e15, "Mm": 1e12, "km": 1e9, "hm": 1e8,
    "dam": 1e7, "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1, "nm": 1e-3, "pm": 1e-6, "fm": 1e-9, "am": 1e-12,
    "zm": 1e-15, "ym": 1e-18, "Å": 1e-4, "thou": 25.4, "li": 25400 / 12, "in": 25400, "ft": 304800, "yd": 914400,
    "mi": 1609344e3, "ua": 149597870700e6, "ly": 299792458 * 365.25 * 86400 * 1e6,
    "pc": 149597870700e6 * 648000 / np.pi, "pt": 25400 / 72,
}  # fmt: skip


@pytest.mark.parametrize("unit", OME_LENGTHS)
def test_all_units_of_length_of_ome(unit):
    assert microns_per(unit) == pytest.approx(OME_LENGTHS[unit], rel=1e-6)


def test_what_is_no_length_is_unknown():
    for unit in ("pixel", "reference frame", "", "furlong"):
        assert microns_per(unit) is None


@pytest.mark.parametrize(
    "unit",
    ["um", "µm", "μm", "\\u00B5m", "\\\\u00B5m", "\\u03BCm", "\\u03bcm", "Âµm", "micron", "Microns", "micrometer",
     "micrometers", "micrometre", "micrometres", " UM "],
)  # fmt: skip
def test_microns_by_all_their_names(tmp_path, unit):
    assert microns_per(unit) == 1
    # The tags and the description of an ImageJ file, by hand: tifffile would encode the description its own way.
    tifffile.imwrite(
        tmp_path / "a.tif",
        GREY,
        resolution=(2, 2),
        resolutionunit="NONE",
        description=f"ImageJ=1.54f\nunit={unit}\n".encode(),
        metadata=None,
    )
    assert read_image(tmp_path / "a.tif").microns_per_pixel == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("unit", "per_unit", "microns"),
    [("inch", 50800, 0.5), ("inches", 50800, 0.5), ("millimetres", 2000, 0.5), ("nanometers", 1 / 500, 0.5),
     ("Angstrom", 1 / 5000, 0.5), ("cm", 20000, 0.5)],
)  # fmt: skip
def test_other_units_of_imagej(tmp_path, unit, per_unit, microns):
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, resolution=(per_unit, per_unit), metadata={"unit": unit})
    assert read_image(tmp_path / "a.tif").microns_per_pixel == pytest.approx(microns)


@pytest.mark.parametrize(("unit", "size"), [("Å", 5000), ("in", 0.5 / 25400), ("nm", 500), ("thou", 0.5 / 25.4)])
def test_units_of_ome(tmp_path, unit, size):
    sizes = {f"PhysicalSize{axis}": size for axis in "XY"} | {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY, metadata={"axes": "YX"} | sizes)
    image = read_image(tmp_path / "a.ome.tif")
    assert image.microns_per_pixel == pytest.approx(0.5)
    assert image.notes == ()


@pytest.mark.parametrize("kind", ["ome", "imagej", "tags", "png"])
def test_pixels_that_are_not_square_have_a_note(tmp_path, kind):
    path = tmp_path / ("a.png" if kind == "png" else f"a.{kind}.tif")
    if kind == "png":
        PillowImage.fromarray(GREY).save(path, dpi=(50800, 25400))
    else:
        options = {
            "ome": {"metadata": {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 1.0}},
            "imagej": {"imagej": True, "resolution": (2, 1), "metadata": {"unit": "um"}},
            "tags": {"resolution": (20000, 10000), "resolutionunit": "CENTIMETER", "metadata": None},
        }
        tifffile.imwrite(path, GREY, **options[kind])
    image = read_image(path)
    assert image.microns_per_pixel is None
    assert len(image.notes) == 1
    assert image.notes[0].startswith("pixels are not square (0.5 x 1 microns), so lengths are in pixels only")


def test_an_unknown_unit_has_a_note(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, resolution=(2, 2), metadata={"unit": "furlong"})
    assert read_image(tmp_path / "a.tif").notes == (
        "unit of length 'furlong' is unknown, so lengths are in pixels only (give microns per pixel)",
    )
