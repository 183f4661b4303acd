"""Every kind of file through the one reader; the pixels come from the peers that wrote them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from cytotome.errors import ImageError
from cytotome.io.images import IMAGE_SUFFIXES, page_count, read_image

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (24, 31), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (24, 31), dtype=np.uint16)
RGB = RNG.integers(0, 256, (24, 31, 3), dtype=np.uint8)
RGBA = RNG.integers(0, 256, (24, 31, 4), dtype=np.uint8)
STACK = RNG.integers(0, 256, (5, 24, 31), dtype=np.uint8)


def pillow(pixels, suffix, **options):
    stream = io.BytesIO()
    PillowImage.fromarray(pixels).save(stream, suffix, **options)
    return stream.getvalue()


def tiff(pixels, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **({"photometric": "minisblack"} | options))
    return stream.getvalue()


def put(folder, data, name="image"):
    (folder / name).write_bytes(data)
    return folder / name


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def declared_tiff(height, width):
    """A valid small TIFF whose header is then changed to say another size."""
    data = bytearray(tiff(GREY, metadata=None))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        for name, value in (("ImageLength", height), ("ImageWidth", width)):
            tag = tags[name]
            size = {3: "<H", 4: "<I"}[int(tag.dtype)]
            struct.pack_into(size, data, tag.valueoffset, value)
    return bytes(data)


@pytest.mark.parametrize("pixels", [GREY, GREY16, RGB, RGBA], ids=["8", "16", "rgb", "rgba"])
@pytest.mark.parametrize("kind", ["png", "tiff", "tiff tiles", "tiff lzw", "big-endian", "bigtiff"])
def test_lossless_files_come_back(tmp_path, pixels, kind):
    colour = {"photometric": "rgb"} if pixels.ndim == 3 else {}
    options = {
        "tiff": {},
        "tiff tiles": {"tile": (16, 16), "compression": "zlib"},
        "tiff lzw": {"compression": "lzw", "predictor": True},
        "big-endian": {"byteorder": ">"},
        "bigtiff": {"bigtiff": True},
    }
    data = pillow(pixels, "png") if kind == "png" else tiff(pixels, **colour, **options[kind])
    image = read_image(put(tmp_path, data))
    assert image.pixels.dtype == pixels.dtype
    assert image.pixels.flags.c_contiguous
    np.testing.assert_array_equal(image.pixels, pixels[..., :3] if pixels.ndim == 3 else pixels)  # without alpha
    assert image.microns_per_pixel is None
    assert image.source == str(tmp_path / "image")


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u4", "f2", "f4", "f8", "i8"])
def test_other_types_become_float32(tmp_path, dtype):
    pixels = (np.arange(24 * 31).reshape(24, 31) % 100).astype(dtype)
    image = read_image(put(tmp_path, tiff(pixels)))
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels, pixels)


def test_one_bit_becomes_uint8(tmp_path):
    mask = GREY > 128
    from_png = read_image(put(tmp_path, pillow(mask, "png"))).pixels
    from_tiff = read_image(put(tmp_path, tiff(mask))).pixels
    assert from_png.dtype == from_tiff.dtype == np.uint8
    np.testing.assert_array_equal(from_png > 0, mask)
    np.testing.assert_array_equal(from_tiff > 0, mask)


@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_what_a_peer_decodes(tmp_path, pixels, progressive):
    path = put(tmp_path, pillow(pixels, "jpeg", quality=90, progressive=progressive))
    image = read_image(path)
    with PillowImage.open(path) as peer:
        expected = np.array(peer)
    assert image.pixels.shape == pixels.shape
    assert np.abs(image.pixels.astype(int) - expected).max() <= 1


def test_a_palette_png_has_its_colours(tmp_path):
    picture = PillowImage.fromarray(RGB).quantize(16)
    stream = io.BytesIO()
    picture.save(stream, "png")
    image = read_image(put(tmp_path, stream.getvalue()))
    np.testing.assert_array_equal(image.pixels, np.array(picture.convert("RGB")))


def test_white_is_zero_is_turned(tmp_path):
    image = read_image(put(tmp_path, tiff(GREY, photometric="miniswhite")))
    np.testing.assert_array_equal(image.pixels, 255 - GREY)


def test_planes_of_colour_become_channels(tmp_path):
    data = tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(put(tmp_path, data)).pixels, RGB)


def test_axes_of_length_one_are_dropped(tmp_path):
    assert read_image(put(tmp_path, tiff(GREY[None, None]))).pixels.shape == GREY.shape
    assert read_image(put(tmp_path, tiff(GREY[..., None]))).pixels.shape == GREY.shape


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metadata": None},
        {"imagej": True},
        {"ome": True},
        {"ome": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
        {"volumetric": True, "tile": (16, 16)},
    ],
    ids=["shaped", "plain", "imagej", "ome", "ome z", "volume"],
)
def test_each_page_of_a_stack_is_read(tmp_path, options):
    path = put(tmp_path, tiff(STACK, **options))
    assert page_count(path) == 5
    for page in range(5):
        np.testing.assert_array_equal(read_image(path, page=page).pixels, STACK[page])
    for page in (5, -1):
        with pytest.raises(ImageError, match=f"has no page {page}; it has pages 0 to 4"):
            read_image(path, page=page)


def test_pages_of_different_size_are_counted_on(tmp_path):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for pixels in (GREY, GREY16[:9, :8]):
            writer.write(pixels, photometric="minisblack", metadata=None)
    path = put(tmp_path, stream.getvalue())
    assert page_count(path) == 2
    np.testing.assert_array_equal(read_image(path, page=1).pixels, GREY16[:9, :8])


def test_pages_run_over_time_then_channel_as_stored(tmp_path):
    stack = RNG.integers(0, 256, (2, 3, 24, 31), dtype=np.uint8)
    path = put(tmp_path, tiff(stack, ome=True, metadata={"axes": "TCYX"}))
    np.testing.assert_array_equal(read_image(path, page=4).pixels, stack[1, 1])


def test_png_and_jpeg_have_one_page(tmp_path):
    path = put(tmp_path, pillow(GREY, "png"))
    assert page_count(path) == 1
    with pytest.raises(ImageError, match="has no page 1; a PNG file has page 0 only"):
        read_image(path, page=1)


CENTIMETRE = {"resolutionunit": "CENTIMETER", "metadata": None}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ome": True, "metadata": {"axes": "YX", "PhysicalSizeX": 0.65, "PhysicalSizeY": 0.65}}, 0.65),
        ({"ome": True, "metadata": {"axes": "YX", "PhysicalSizeX": 650, "PhysicalSizeXUnit": "nm"}}, 0.65),
        ({"ome": True, "metadata": {"axes": "YX", "PhysicalSizeX": 1, "PhysicalSizeXUnit": "pixel"}}, None),
        ({"ome": True, "metadata": {"axes": "YX"}}, None),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "um"}}, 0.5),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "micron"}}, 0.5),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "\\u00B5m"}}, 0.5),
        ({"imagej": True, "resolution": (2000, 2000), "metadata": {"unit": "mm"}}, 0.5),
        ({"imagej": True, "resolution": (2, 2)}, None),
        ({"resolution": (20000, 20000), **CENTIMETRE}, 0.5),
        ({"resolution": (0, 0), **CENTIMETRE}, None),
        ({"resolution": (300, 300), "resolutionunit": "INCH", "metadata": None}, None),
        ({"resolution": (50800, 50800), "resolutionunit": "INCH", "metadata": None}, 0.5),
        ({"resolution": (2, 2), "resolutionunit": "NONE", "metadata": None}, None),
    ],
)
def test_microns_of_a_tiff_only_where_the_scale_is_real(tmp_path, options, expected):
    microns = read_image(put(tmp_path, tiff(GREY, **options))).microns_per_pixel
    assert microns == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("dots_per_inch", "expected"), [(72, None), (50800, 0.5)])
def test_microns_of_a_png_only_where_the_scale_is_real(tmp_path, dots_per_inch, expected):
    image = read_image(put(tmp_path, pillow(GREY, "png", dpi=(dots_per_inch, dots_per_inch))))
    assert image.microns_per_pixel == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"hello", "not a PNG, JPEG or TIFF file"),
        (png_header(100000, 100000), "declares 100000x100000x1 values, more than"),
        (png_header(0, 5), "declares an empty image of 5x0x1"),
        (png_header(30000, 10000), "damaged PNG file"),
        (declared_tiff(60000, 60000), "declares 60000x60000 values, more than"),
        (declared_tiff(9000, 9000), "damaged TIFF file"),
        (b"\xff\xd8\xff\xc0\x00\x0b\x08\xff\xff\xff\xff\x01\x01\x11\x00\xff\xda\x00\x08", "declares 65535x65535x1"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "damaged JPEG file"),
        (pillow(GREY, "png")[:-30], "damaged PNG file"),
        (pillow(GREY, "jpeg")[:-30], "damaged JPEG file"),
        (tiff(GREY)[:-30], "damaged TIFF file"),
        (tiff(GREY, compression="zlib")[:-30], "damaged TIFF file"),
        (tiff(STACK)[:300], "damaged TIFF file"),
        (b"II*\0\0\0\0\0", "damaged TIFF file"),
        (pillow(GREY, "png").replace(b"IDAT", b"IDAX"), "the checksum of 'IDAX' is wrong"),
        (tiff(np.full((4, 5), 7, np.uint8)), "every pixel has the value 7; there is nothing to segment"),
        (pillow(np.zeros((4, 5, 3), np.uint8), "png"), "every pixel has the value 0"),
        (tiff(np.array([[0, np.nan]], np.float32)), "contains values that are not finite"),
        (tiff(np.array([[0, -np.inf]], np.float32)), "contains values that are not finite"),
        (tiff(np.array([[0, 1e300]])), "contains values that are not finite"),
        (tiff(np.array([[0, 1j]], np.complex64)), "pixels of type complex64 are not grey levels"),
    ],
)
def test_unusable_files_have_one_clear_line(tmp_path, data, message):
    path = put(tmp_path, data)
    with pytest.raises(ImageError, match=f"image: .*{message}") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_cmyk_jpeg_is_refused(tmp_path):
    stream = io.BytesIO()
    PillowImage.fromarray(RGBA, "CMYK").save(stream, "jpeg")
    with pytest.raises(ImageError, match="a CMYK JPEG; convert it to grey or RGB"):
        read_image(put(tmp_path, stream.getvalue()))


@pytest.mark.parametrize("name", ["missing.png", "."])
def test_what_cannot_be_opened_is_named(tmp_path, name):
    for read in (read_image, page_count):
        with pytest.raises(ImageError, match=r"cannot be read .*; check the path"):
            read(tmp_path / name)


WHOLE = (
    pillow(GREY, "png"),
    pillow(RGB, "jpeg"),
    tiff(STACK),
    tiff(RGB, photometric="rgb", tile=(16, 16), compression="zlib"),
    tiff(STACK, imagej=True),
    tiff(GREY, ome=True),
)


@settings(max_examples=150)
@given(
    st.sampled_from(WHOLE),
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=5),
)
def test_no_damage_raises_anything_else(tmp_path_factory, data, kept, changes):
    damaged = bytearray(data if changes else data[: int(kept * len(data))])
    for where, value in changes:
        damaged[int(where**3 * len(damaged))] = value  # mostly in the header
    path = put(tmp_path_factory.getbasetemp(), bytes(damaged), "damaged")
    try:
        image, pages, message = read_image(path), page_count(path), ""
    except ImageError as error:
        message = str(error)
    if message:
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
    else:
        assert image.pixels.min() < image.pixels.max()
        assert pages >= 1


def test_real_images_have_their_known_kinds(real_data):
    folders = {
        "sartorius/train": ((520, 704), np.uint8),
        "livecell/images/livecell_test_images": ((520, 704), np.uint8),
        "usiigaci/val/images": ((1022, 1024), np.uint16),
    }
    for folder, (shape, dtype) in folders.items():
        paths = [path for path in (real_data / folder).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
        assert paths
        for path in paths[:5]:
            image = read_image(path)
            assert (image.shape, image.pixels.dtype) == (shape, dtype)
            with PillowImage.open(path) as peer:
                np.testing.assert_array_equal(image.pixels, np.array(peer))
