"""Folds: the dataset's own, or dealt out."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytotome.datasets.splits import FOLDS, splits
from cytotome.errors import DataError
from cytotome.types import Dataset, SampleInfo


class Infos(Dataset):
    """A dataset of which only the infos are asked."""

    def __init__(self, *infos: SampleInfo) -> None:
        self.name, self.class_names, self.infos = "infos", (), infos


def test_own_folds_are_honoured() -> None:
    dataset = Infos(
        SampleInfo("a", fold=0),
        SampleInfo("b", fold=1),
        SampleInfo("c", fold=-1),
        SampleInfo("d", fold=None),
        SampleInfo("e", fold=None, mask_quality="none"),
        SampleInfo("f", fold=1, mask_quality="approximate"),
    )
    assert splits(dataset, 0) == ([1, 2, 3, 4, 5], [0])
    assert splits(dataset, 1) == ([0, 2, 3, 4, 5], [1])
    assert splits(dataset, None) == ([0, 1, 2, 3, 4, 5], [])


def test_a_group_is_held_out_whole_even_against_its_folds() -> None:
    dataset = Infos(
        SampleInfo("a", group="well", fold=0), SampleInfo("b", group="well", fold=-1), SampleInfo("c", fold=1)
    )
    assert splits(dataset, 0) == ([2], [0])


def test_unknown_fold_is_named_with_those_there_are() -> None:
    with pytest.raises(DataError, match="infos: fold 4 has no image with full masks; choose one of: 0, 2"):
        splits(Infos(SampleInfo("a", fold=0), SampleInfo("b", fold=2)), 4)


def test_a_fold_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="infos: fold 0 leaves no labelled image to train on"):
        splits(Infos(SampleInfo("a", fold=0), SampleInfo("b", mask_quality="none")), 0)


infos = st.lists(
    st.builds(
        SampleInfo,
        id=st.text("abc", min_size=1, max_size=6),
        cell_type=st.sampled_from(["x", "y"]),
        group=st.sampled_from(["", *"pqrstuvw"]),
        mask_quality=st.sampled_from(["full", "full", "approximate", "none"]),
    ),
    max_size=30,
    unique_by=lambda info: info.id,
)


@given(infos)
def test_dealt_folds_part_the_full_masks_and_keep_groups_whole(infos: list[SampleInfo]) -> None:
    dataset = Infos(*infos)
    full = [i for i, info in enumerate(infos) if info.mask_quality == "full"]
    validated: list[int] = []
    for fold in range(FOLDS):
        try:
            training, validation = splits(dataset, fold)
        except DataError:
            continue
        groups = [{infos[i].group or infos[i].id for i in part} for part in (training, validation)]
        assert not groups[0] & groups[1]
        assert all(infos[i].mask_quality == "full" for i in validation)
        validated += validation
    assert len(set(validated)) == len(validated)
    if len({infos[i].group or infos[i].id for i in full}) > 1:
        assert sorted(validated) == full


def test_every_fold_gets_its_part_of_every_type() -> None:
    dataset = Infos(*(SampleInfo(f"{kind}{n}", kind) for kind in ("x", "y") for n in range(50)))
    for fold in range(FOLDS):
        _, validation = splits(dataset, fold)
        assert Counter(dataset.infos[i].cell_type for i in validation) == {"x": 10, "y": 10}


def test_dealing_does_not_depend_on_the_order_of_the_samples() -> None:
    infos = [SampleInfo(f"s{n}", "x") for n in range(23)]
    forwards, backwards = Infos(*infos), Infos(*reversed(infos))
    names = [{d.infos[i].id for i in splits(d, 2)[1]} for d in (forwards, backwards)]
    assert names[0] == names[1]
