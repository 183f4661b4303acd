"""Counts and defects, on masks worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cytotome.datasets.defects import find_defects
from cytotome.datasets.summary import summary
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.errors import DataError
from cytotome.types import Dataset, Image, Instances, Note, Sample, SampleInfo

SHAPE = (80, 90)


class Given(Dataset):
    """Samples from memory."""

    def __init__(self, *instances: Instances | None) -> None:
        self.name, self.class_names = "given", ("cell",)
        self.truth = instances
        self.infos = tuple(
            SampleInfo(f"s{n}", "cell", fold=n, mask_quality="full" if i is not None else "none")
            for n, i in enumerate(instances)
        )

    def read(self, index: int) -> Sample:
        return Sample(self.infos[index], Image(np.zeros(SHAPE, np.uint8)), self.truth[index])


def disc(y: float, x: float, radius: float, inner: float = 0.0) -> np.ndarray:
    rows, columns = np.indices(SHAPE)
    distance = np.hypot(rows - y, columns - x)
    return (distance <= radius) & (distance >= inner)


def test_each_defect_is_found_alone() -> None:
    parts = disc(20, 20, 8) | disc(20, 60, 4)
    cut = disc(40, 45, 25) & (np.indices(SHAPE)[0] >= 40)
    ring, twins = disc(40, 45, 20, inner=16), [disc(60, 20, 8), disc(60, 21, 8)]
    masks = [disc(40, 45, 20), ring, parts, *twins, cut, disc(10, 80, 2)]
    found = find_defects(Instances.from_masks(masks, shape=SHAPE))
    assert np.flatnonzero(found.hollow).tolist() == [1]
    assert np.flatnonzero(found.many_parts).tolist() == [2]
    assert np.flatnonzero(found.double).tolist() == [3, 4]
    assert np.flatnonzero(found.cut_straight).tolist() == [5]
    assert np.flatnonzero(found.tiny).tolist() == [6]


@pytest.mark.parametrize("turn", range(4))
def test_a_straight_edge_counts_unless_the_image_ends_there(turn: int) -> None:
    half = disc(40, 45, 25) & (np.indices(SHAPE)[0] >= 40)
    inside = np.rot90(half, turn)
    border = np.rot90(half[40:], turn)
    assert find_defects(Instances.from_masks([inside], shape=inside.shape)).cut_straight.tolist() == [True]
    assert find_defects(Instances.from_masks([border], shape=border.shape)).cut_straight.tolist() == [False]


def test_a_crack_or_a_corner_is_no_defect() -> None:
    ring = disc(40, 45, 20)
    ring[40, 45] = False
    touching = np.zeros(SHAPE, bool)
    touching[10:16, 10:16] = touching[16:22, 16:22] = True
    found = find_defects(Instances.from_masks([ring, touching], shape=SHAPE))
    assert not found.hollow.any()
    assert not found.many_parts.any()


def test_counts_and_shares_by_hand() -> None:
    masks = np.zeros((3, *SHAPE), bool)
    masks[0, 0:10, 0:10] = masks[1, 5:15, 0:10] = masks[2, 50:60, 50:60] = True
    found = summary(Given(Instances.from_masks(masks), Instances.empty(SHAPE), None))
    (entry,) = found.types
    assert (entry.images, entry.cells, entry.cells_per_image) == (2, 3, (0, 1.5, 3))
    assert entry.area == (100, 100, 100)
    assert entry.covered == pytest.approx(250 / (2 * 80 * 90))
    assert entry.overlapping_cells == pytest.approx(2 / 3)
    assert entry.shared_pixels == pytest.approx(50 / 250)
    assert found.mask_quality == {"full": 2, "none": 1}
    assert found.folds == {0: 1, 1: 1}
    assert found.empty == ("s1",)


def test_text_and_dict_hold_the_numbers() -> None:
    found = summary(SyntheticDataset(3, 0, shape=(128, 128)))
    values = json.loads(json.dumps(found.to_dict()))
    assert [entry["cell_type"] for entry in values["types"]] == ["astro", "cort", "shsy5y"]
    lines = str(found).splitlines()
    assert lines[0] == "synthetic: 3 images in 3 groups; masks: 3 full"
    for line, entry in zip(lines[-3:], found.types, strict=True):
        assert line.split()[:3] == [entry.cell_type, "1", str(entry.cells)]


def test_a_dataset_without_labels_says_so() -> None:
    assert str(summary(Given(None))).splitlines()[-1] == "nothing is labelled"


def test_known_defects_of_the_real_images(real_data) -> None:
    from cytotome.datasets.sartorius import SartoriusDataset

    kinds = {entry.cell_type: entry for entry in summary(SartoriusDataset(real_data / "sartorius")).types}
    hollow = {name: entry.defects["hollow"] / entry.cells for name, entry in kinds.items()}
    cut = {name: entry.defects["cut_straight"] / entry.cells for name, entry in kinds.items()}
    assert hollow["astro"] > 0.02 > 10 * max(hollow["cort"], hollow["shsy5y"])
    assert cut["astro"] > 0.04 > 4 * max(cut["cort"], cut["shsy5y"])


def test_what_cannot_be_used_is_named_and_left_out() -> None:
    data = Given(Instances.from_masks([disc(40, 45, 20)]), None, Instances.from_masks([disc(40, 45, 20)]))
    read = data.read

    def damaged(index: int) -> Sample:
        if index == 2:
            raise DataError("s2.png: cannot be read")
        return read(index)

    data.read = damaged  # type: ignore[method-assign]
    seen: list[int] = []
    found = summary(data, advance=lambda: seen.append(1))
    assert found.unusable == {"s2": "s2.png: cannot be read"}
    assert (found.images, found.types[0].images, len(seen)) == (3, 1, 3)


def test_masks_of_black_and_white_are_told() -> None:
    cells = [disc(20, 20, 6), disc(20, 60, 6), disc(60, 20, 6), disc(60, 60, 6)]
    found = summary(
        Given(
            Instances.from_masks([np.any(cells, axis=0)]),
            Instances.from_masks([np.any(cells[:3], axis=0)]),
            Instances.from_masks(cells),
        )
    )
    assert found.binary == ("s0",)
    assert "all cells share one mask (black and white): s0; give each cell a number of its own" in str(found)


def test_notes_are_listed_with_their_names() -> None:
    given = Given(None)
    given.notes = (Note("label maps fit no image", tuple(f"x{n}" for n in range(60)), "rename them"),)
    lines = str(summary(given)).splitlines()
    assert lines[1:] == [
        f"note: label maps fit no image (60): {', '.join(f'x{n}' for n in range(50))}, ...; rename them",
        "nothing is labelled",
    ]
    assert summary(given).to_dict()["notes"][0]["names"][59] == "x59"
