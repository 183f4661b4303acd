"""Contrast enhancement and edges: what they show, and that a model keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cytotome.data.guidance import CLIP, Guidance, guide
from cytotome.data.normalise import Normalisation, normalise
from cytotome.data.sampling import Crops, CropSettings, Source
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.errors import ConfigError
from cytotome.families import get_family
from cytotome.inference.model import build_model
from cytotome.models.file import ModelFile, read_model, save_model
from cytotome.training.recipe import check_recipe
from cytotome.types import Image

EDGES = Guidance(channels=("sobel", "canny", "laplacian"))


def _square() -> np.ndarray:
    plane = np.zeros((1, 60, 80), np.float32)
    plane[0, 20:40, 30:50] = 1
    return plane


def test_edges_stand_at_edges() -> None:
    planes = guide(_square(), EDGES)
    assert planes.shape == (4, 60, 80)
    np.testing.assert_array_equal(planes[0], _square()[0])
    inside = ndimage.distance_transform_edt(_square()[0])
    outside = ndimage.distance_transform_edt(1 - _square()[0])
    far = np.maximum(inside, outside) > 6
    _, sobel, canny, laplacian = planes
    for edge in (sobel, canny, laplacian):
        assert np.abs(edge[far]).max() < 0.01
        assert np.abs(edge).max() <= CLIP
    assert set(np.unique(canny)) == {0.0, 1.0}
    rim = canny[18:42, 28:52]
    assert ndimage.label(rim, np.ones((3, 3)))[1] == 1
    assert ndimage.binary_fill_holes(rim).sum() == pytest.approx(400, rel=0.2)
    assert laplacian[19, 40] > 0.3
    assert laplacian[20, 40] < -0.3


def test_sobel_is_the_length_of_the_gradient() -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((1, 40, 50), np.float32)
    smooth = ndimage.gaussian_filter(plane[0], 1.0, mode="mirror", truncate=4)
    slope = np.hypot(*(ndimage.sobel(smooth, axis, mode="mirror") for axis in (0, 1)))
    ours = guide(plane, Guidance(channels=("sobel",)))[1]
    inner = np.s_[6:-6, 6:-6]
    factor = (ours[inner] * slope[inner]).sum() / (slope[inner] ** 2).sum()
    np.testing.assert_allclose(ours[inner], np.minimum(factor * slope[inner], CLIP), atol=0.06)


def test_clahe_evens_out_contrast_and_keeps_the_range() -> None:
    """The left half has a fifth of the contrast of the right half."""
    rng = np.random.default_rng(1)
    plane = ndimage.gaussian_filter(rng.random((128, 256)), 2).astype(np.float32)
    plane -= plane.mean()
    plane[:, :128] *= 0.2
    enhanced = guide(plane[None], Guidance(clahe=4.0))[0]
    before = plane[:, :100].std() / plane[:, 156:].std()
    after = enhanced[:, :100].std() / enhanced[:, 156:].std()
    assert after > 1.5 * before
    assert enhanced.min() >= plane.min() - 1e-4
    assert enhanced.max() <= plane.max() + 1e-4
    np.testing.assert_array_equal(guide(np.ones((1, 9, 9), np.float32), Guidance(clahe=4.0)), 1)


def test_flat_images_have_no_edges() -> None:
    assert (guide(np.full((1, 32, 32), 0.3, np.float32), EDGES)[1:] == 0).all()


def test_it_is_kept_in_the_model_file_and_fed_to_the_network(tmp_path: Path) -> None:
    family = get_family("embedding")
    config = family.config(widths=(4, 8), blocks=(0, 1), channels=3, input_scale=1.0)
    normalisation = Normalisation(guidance=Guidance(clahe=2.0, channels=("sobel", "canny")))
    file = ModelFile(family.name, config, family.parameters(), normalisation, family.build(config).state_dict())
    save_model(tmp_path / "a.safetensors", file)
    back = read_model(tmp_path / "a.safetensors")
    assert back.normalisation == normalisation
    pixels = SyntheticDataset(1, shape=(64, 64))[0].image.pixels
    maps = build_model(back, device="cpu", precision="float32").predict_maps(pixels)
    assert maps["embedding"].shape == (8, 64, 64)
    planes = normalise(Image(pixels), normalisation, 3)
    assert planes.shape == (3, 64, 64)
    crops = Crops(
        [Source(SyntheticDataset(1, shape=(64, 64)))],
        family.targets,
        config,
        normalisation,
        settings=CropSettings(size=(32, 32), batch=1),
    )
    assert crops[0]["image"].shape == (3, 32, 32)


def test_a_network_without_room_for_the_channels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"config.channels: expected at least 3 .* got 2; set config.channels=3"):
        normalise(Image(np.zeros((8, 8), np.uint8)), Normalisation(guidance=Guidance(channels=("sobel", "canny"))), 2)
    recipe = {"name": "x", "family": "embedding", "normalisation": {"guidance": {"channels": ["sobel"]}}}
    with pytest.raises(ConfigError, match=r"config.channels: expected at least 2 .* got 1"):
        check_recipe(recipe)
    assert check_recipe(recipe | {"config": {"channels": 2}}).normalisation.guidance is not None
