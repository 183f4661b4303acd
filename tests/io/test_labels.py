from __future__ import annotations

import io
import os

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from cytotome.errors import DataError
from cytotome.io.images import read_image
from cytotome.io.labels import read_label_map, write_label_map

FEW = np.array([[0, 1, 1], [0, 0, 65535]], np.int32)
MANY = np.arange(300 * 300, dtype=np.int32).reshape(300, 300)


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".png", ".npy", ".TIF"])
@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.int64, np.uint64])
def test_label_maps_come_back(tmp_path, suffix, dtype):
    path = tmp_path / f"labels{suffix}"
    write_label_map(path, FEW.astype(dtype))
    labels = read_label_map(path)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, FEW)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_more_labels_than_16_bits_hold(tmp_path, suffix):
    write_label_map(tmp_path / f"a{suffix}", MANY)
    np.testing.assert_array_equal(read_label_map(tmp_path / f"a{suffix}"), MANY)


def test_a_map_without_labels_is_fine(tmp_path):
    for name in ("a.tif", "a.png", "a.npy"):
        write_label_map(tmp_path / name, np.zeros((4, 5), np.int32))
        np.testing.assert_array_equal(read_label_map(tmp_path / name), np.zeros((4, 5)))


def test_the_tiff_is_one_that_imagej_opens(tmp_path):
    write_label_map(tmp_path / "few.tif", FEW, 0.65)
    write_label_map(tmp_path / "many.tif", MANY)
    for name, bits, signed in (("few.tif", 16, 1), ("many.tif", 32, 2)):
        with tifffile.TiffFile(tmp_path / name) as file:
            page = file.pages.first
            assert not page.is_tiled  # ImageJ: "cannot open tiled TIFFs"
            assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            assert (page.bitspersample, page.sampleformat) == (bits, signed)
    assert read_image(tmp_path / "few.tif").microns_per_pixel == pytest.approx(0.65)


def test_the_same_map_gives_the_same_bytes(tmp_path):
    for name in ("a.tif", "b.tif"):
        write_label_map(tmp_path / name, MANY, 0.5)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_png_holds_16_bits_only(tmp_path):
    with pytest.raises(DataError, match=r"a\.png: PNG stores labels up to 65535, the highest is 89999"):
        write_label_map(tmp_path / "a.png", MANY)
    assert os.listdir(tmp_path) == []


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"label maps are written as \.tif, \.tiff, \.png, \.npy, not \.jpg"):
        write_label_map(tmp_path / "a.jpg", FEW)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 2, 2), int), r"must be \(H, W\) integers, got \(2, 2, 2\)"),
        (np.array([[0.5]]), "must contain whole numbers; this looks like an image"),
        (np.array([[np.nan]]), "must contain whole numbers"),
        (np.array([[-1]]), "labels must lie in 0 to 2147483647, found"),
        (np.array([[2**31]]), "labels must lie in 0 to 2147483647, found"),
    ],
)
def test_what_is_no_label_map_is_refused_when_read_and_when_written(tmp_path, labels, message):
    np.save(tmp_path / "a.npy", labels)
    for act in (lambda: write_label_map(tmp_path / "b.tif", labels), lambda: read_label_map(tmp_path / "a.npy")):
        with pytest.raises(DataError, match=message):
            act()
    assert not (tmp_path / "b.tif").exists()


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.npy"])
def test_masks_of_black_and_white_are_refused_with_the_remedy(tmp_path, name):
    mask = np.zeros((30, 40), np.uint8)
    mask[2:9, 3:11] = mask[20:25, 10:30] = 255
    if name.endswith(".npy"):
        np.save(tmp_path / name, mask)
    else:
        PillowImage.fromarray(mask).save(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: all cells share one mask.*255 lies in 2 places; give each cell"):
        read_label_map(tmp_path / name)
    np.testing.assert_array_equal(read_label_map(tmp_path / name, check=False), mask)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.uint16])
def test_a_background_of_minus_one_is_no_cell(tmp_path, dtype):
    cells = np.full((20, 30), -1)
    cells[2:5, 3:9], cells[10:14, 20:28] = 0, 1
    tifffile.imwrite(tmp_path / "a.tif", cells.astype(dtype))
    with pytest.raises(DataError, match=r"a\.tif: .*give the background the number 0"):
        read_label_map(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
def test_labels_are_the_stored_numbers_though_zero_is_shown_white(tmp_path, dtype):
    labels = np.zeros((12, 15), dtype)
    labels[3:6, 4:9] = 1
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="miniswhite")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.tif"), labels)


def test_a_mask_as_tifffile_writes_booleans_by_itself(tmp_path):
    mask = np.zeros((12, 15), bool)
    mask[3:6, 4:9] = True
    tifffile.imwrite(tmp_path / "a.tif", mask)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.tif"), mask)


def test_float_maps_of_whole_numbers_are_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FEW.astype(np.float32))
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.tif"), FEW)


def test_indices_of_a_palette_are_the_labels(tmp_path):
    picture = PillowImage.fromarray(np.array([[0, 1], [2, 200]], np.uint8), "P")
    picture.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    picture.save(tmp_path / "a.png")
    assert read_label_map(tmp_path / "a.png").tolist() == [[0, 1], [2, 200]]


def test_grey_saved_as_colour_is_read_and_colour_is_not(tmp_path):
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    PillowImage.fromarray(np.stack([grey] * 3, axis=2)).save(tmp_path / "grey.png")
    assert read_label_map(tmp_path / "grey.png").tolist() == grey.tolist()
    PillowImage.fromarray(np.stack([grey, grey, 0 * grey], axis=2)).save(tmp_path / "colour.png")
    with pytest.raises(DataError, match=r"colour\.png: a colour image of shape \(2, 3, 3\) is not a label map"):
        read_label_map(tmp_path / "colour.png")


def test_a_page_of_a_stack_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([FEW, FEW * 2]), photometric="minisblack")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.tif", page=1), FEW * 2)


def damaged_npy(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<i4", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.npy", b"", "cannot be read"),
        ("a.npy", b"\x93NUMPY", "cannot be read"),
        ("a.npy", damaged_npy((100000, 100000)), "cannot be read|more than"),
        ("a.tif", b"", "the file is empty"),
        ("a.png", b"text", "not a PNG, JPEG or TIFF file"),
        ("a.tif", b"II*\0", "damaged TIFF file"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name}: .*({message})"):
        read_label_map(tmp_path / name)


def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        read_label_map(tmp_path / "a.npy")


def test_a_missing_file_is_named(tmp_path):
    for name in ("a.npy", "a.tif"):
        with pytest.raises(DataError, match=f"{name}: cannot be read"):
            read_label_map(tmp_path / name)
