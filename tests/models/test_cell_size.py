"""Cell sizes as a card states them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.models.card import Card
from cytotome.models.cell_size import CellSize, CellSizes, SizedData, diameter, measured_sizes
from cytotome.models.file import read_model, save_model
from cytotome.models.header import FACTS, read_header
from cytotome.models.registry import list_models

SIZES = CellSizes(
    types={
        "small": CellSize(diameter=15, least=12, greatest=20),
        "large": CellSize(diameter=28, least=22, greatest=46),
    },
    microns_per_pixel=1.24,
)


def test_a_disc_has_its_own_diameter() -> None:
    areas = np.pi / 4 * np.array([10.0, 20.0, 90.0]) ** 2
    assert diameter(areas) == pytest.approx(20)
    assert diameter(areas[:0]) == 0


@pytest.mark.parametrize(("found", "scale"), [(12, 1), (46, 1), (21, 1), (56, 0.5), (7.5, 2), (280, 0.1)])
def test_cells_of_a_known_size_stay_and_others_come_to_the_nearest_type(found: float, scale: float) -> None:
    assert SIZES.scale_to_known(found) == pytest.approx(scale)


def test_sizes_are_measured_from_the_masks() -> None:
    dataset = SyntheticDataset(3, seed=2, shape=(96, 128))
    cells = [dataset.instances(place) for place in range(3)]
    sizes = measured_sizes([SizedData(dataset, scale=2.0)])
    assert sizes is not None
    for index, name in enumerate(dataset.class_names):
        areas = [one.areas[one.classes == index] for one in cells if one is not None]
        areas = [one for one in areas if len(one)]
        if areas:
            assert sizes.types[name].diameter == pytest.approx(2 * diameter(np.concatenate(areas)), abs=0.06)
            assert sizes.types[name].greatest == pytest.approx(2 * max(map(diameter, areas)), abs=0.06)
    assert measured_sizes([]) is None


def test_every_bundled_model_states_the_size_of_each_of_its_types() -> None:
    for entry in list_models():
        sizes = entry.header.card.cell_sizes
        assert sizes is not None, entry.name
        assert set(entry.header.config["class_names"]) <= set(sizes.types), entry.name
        assert all(size.least <= size.diameter <= size.greatest for size in sizes.types.values())


def test_facts_belong_to_the_weights_wherever_the_file_lies(tmp_path: Path) -> None:
    entry = list_models()[0]
    copy = tmp_path / "another name.safetensors"
    copy.write_bytes(entry.path.read_bytes())
    assert read_header(copy).card.cell_sizes == read_header(entry.path).card.cell_sizes is not None
    assert set(json.loads(FACTS.read_text())) == {entry.header.digest for entry in list_models()}

    model = read_model(copy)
    save_model(copy, replace(model, card=model.card.model_copy(update={"cell_sizes": None, "notes": "trained on"})))
    assert read_header(copy).card.cell_sizes is None


def test_the_card_tells_pixels_and_microns() -> None:
    text = Card(cell_sizes=SIZES).text()
    assert text.startswith("cells     small 15 pixels (12 to 20 in images), 19 um; large 28 pixels")
    assert Card.model_validate(Card(cell_sizes=SIZES).model_dump(mode="json")).cell_sizes == SIZES


def test_a_range_must_rise() -> None:
    with pytest.raises(ValidationError, match="a: least must not exceed greatest"):
        CellSizes(types={"a": CellSize(diameter=5, least=6, greatest=4)})
