"""What a TIFF's own tags and OME-XML say of its samples and planes decides what they are."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from cytotome.errors import ImageError
from cytotome.io.images import page_count, read_image
from cytotome.io.labels import read_label_map

RNG = np.random.default_rng(1)
GREY = RNG.integers(0, 256, (24, 31), dtype=np.uint8)
SAMPLES = RNG.integers(0, 256, (24, 31, 4), dtype=np.uint8)
PLANES = RNG.integers(0, 256, (3, 24, 31), dtype=np.uint8)
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def ome_xml(own: str | None, others: list[tuple[str, str]], size: float = 0.5) -> str:
    """OME-XML of a file with the identifier ``own``: one plane in each of ``others``, (file name, identifier)."""
    planes = "".join(
        f'<TiffData IFD="0" FirstC="{k}" FirstZ="0" FirstT="0" PlaneCount="1">'
        f'<UUID FileName="{name}">{uuid}</UUID></TiffData>'
        for k, (name, uuid) in enumerate(others)
    )
    channels = "".join(f'<Channel ID="Channel:0:{k}" SamplesPerPixel="1"/>' for k in range(len(others)))
    root = "" if own is None else f' UUID="{own}"'
    return (
        f'<?xml version="1.0"?><OME xmlns="{NAMESPACE}"{root}><Image ID="Image:0"><Pixels ID="Pixels:0" '
        f'DimensionOrder="XYZTC" Type="uint8" SizeX="31" SizeY="24" SizeZ="1" SizeT="1" SizeC="{len(others)}" '
        f'PhysicalSizeX="{size}" PhysicalSizeY="{size}">{channels}{planes}</Pixels></Image></OME>'
    )


@pytest.fixture(params=[True, False], ids=["identified", "by name"])
def ome_files(tmp_path, request):
    """Three files, a channel each, every one describing all three, as acquisition programs write them."""
    others = [(f"c{k}.ome.tif", f"urn:uuid:0000000{k}-0000-4000-8000-000000000000") for k in range(3)]
    for plane, (name, uuid) in zip(PLANES, others, strict=True):
        text = ome_xml(uuid if request.param else None, others)
        tifffile.imwrite(tmp_path / name, plane, description=text, metadata=None, photometric="minisblack")
    return [tmp_path / name for name, _ in others]


def test_files_that_name_each_other_give_their_own_plane(ome_files):
    for path, plane in zip(ome_files, PLANES, strict=True):
        image = read_image(path)
        np.testing.assert_array_equal(image.pixels, plane)
        assert page_count(path) == 1
        assert image.microns_per_pixel == pytest.approx(0.5)


def test_a_file_of_a_series_is_read_alone_and_renamed(ome_files):
    for path in (ome_files[0], ome_files[2]):
        path.unlink()
    np.testing.assert_array_equal(read_image(ome_files[1]).pixels, PLANES[1])
    renamed = ome_files[1].rename(ome_files[1].with_name("renamed.tif"))
    image = read_image(renamed)
    np.testing.assert_array_equal(image.pixels, PLANES[1])
    assert image.microns_per_pixel == pytest.approx(0.5)


def test_a_whole_ome_file_keeps_its_axes_when_it_is_renamed(tmp_path):
    own = "urn:uuid:00000009-0000-4000-8000-000000000000"
    with tifffile.TiffWriter(tmp_path / "other.tif") as writer:
        text = ome_xml(own, [("whole.ome.tif", own)])
        writer.write(PLANES[0], description=text, metadata=None, photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "other.tif").pixels, PLANES[0])


def test_a_file_whose_description_lies_in_another_has_its_scale(tmp_path):
    master, own = (f"urn:uuid:0000000{k}-0000-4000-8000-000000000000" for k in range(2))
    (tmp_path / "all.companion.ome").write_text(ome_xml(master, [("a.ome.tif", own)], 0.25))
    text = (
        f'<?xml version="1.0"?><OME xmlns="{NAMESPACE}" UUID="{own}">'
        f'<BinaryOnly MetadataFile="all.companion.ome" UUID="{master}"/></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY, description=text, metadata=None, photometric="minisblack")
    image = read_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image.pixels, GREY)
    assert image.microns_per_pixel == pytest.approx(0.25)
    (tmp_path / "all.companion.ome").unlink()
    assert read_image(tmp_path / "a.ome.tif").microns_per_pixel is None


def test_cmyk_is_the_rgb_of_a_peer(tmp_path):
    picture = PillowImage.fromarray(SAMPLES, "CMYK")
    picture.save(tmp_path / "pillow.tif")
    tifffile.imwrite(tmp_path / "tifffile.tif", SAMPLES, photometric="separated")
    expected = np.array(picture.convert("RGB")).astype(int)
    for name in ("pillow.tif", "tifffile.tif"):
        pixels = read_image(tmp_path / name).pixels
        assert pixels.dtype == np.uint8
        assert np.abs(pixels - expected).max() <= 1  # Pillow rounds twice
    black = np.zeros((8, 8, 4), np.uint16)
    black[:4, :, 3] = 65535
    tifffile.imwrite(tmp_path / "16.tif", black, photometric="separated")
    assert read_image(tmp_path / "16.tif").pixels[:, 0].tolist() == [[0] * 3] * 4 + [[65535] * 3] * 4


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("samples", [2, 3, 4])
def test_samples_that_are_no_colours_are_pages(tmp_path, samples, planar):
    pixels = SAMPLES[:, :, :samples]
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=planar)
    assert page_count(tmp_path / "a.tif") == samples
    for page in range(samples):
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif", page=page).pixels, pixels[:, :, page])


def test_pages_run_over_time_then_samples(tmp_path):
    stack = RNG.integers(0, 256, (3, 24, 31, 2), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", planarconfig="contig")
    assert page_count(tmp_path / "a.tif") == 6
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", page=3).pixels, stack[1, :, :, 1])


@pytest.mark.parametrize("alpha", ["unassalpha", "assocalpha"])
def test_alpha_is_what_the_tag_says(tmp_path, alpha):
    options = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [alpha]}
    tifffile.imwrite(tmp_path / "a.tif", SAMPLES[:, :, :2], **options)
    assert page_count(tmp_path / "a.tif") == 1
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, SAMPLES[:, :, 0])
    PillowImage.fromarray(SAMPLES[:, :, :2], "LA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, SAMPLES[:, :, 0])


def test_a_palette_is_colours_in_an_image_and_labels_in_a_label_map(tmp_path):
    labels = np.zeros((24, 31), np.uint8)
    labels[2:8, 3:9], labels[12:20, 10:25] = 1, 2
    picture = PillowImage.fromarray(labels, "P")
    picture.putpalette([9, 8, 7, 200, 30, 40, 5, 250, 60])
    picture.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, np.array(picture.convert("RGB")))
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.tif"), labels)


def test_false_colours_of_imagej_are_grey_levels(tmp_path):
    ramp = np.zeros((3, 256), np.uint16)
    ramp[1] = np.arange(256) * 257
    tifffile.imwrite(tmp_path / "a.tif", GREY, colormap=ramp, photometric="palette", description="ImageJ=1.54f\n",
                     metadata=None)  # fmt: skip
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, GREY)


def test_other_colours_are_refused_by_name(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", SAMPLES[:, :, :3], photometric="cielab")
    with pytest.raises(ImageError, match=r"a\.tif: its colours are stored as CIELAB; convert it to grey or RGB"):
        read_image(tmp_path / "a.tif")
