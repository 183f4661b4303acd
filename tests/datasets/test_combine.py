"""Several datasets as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cytotome.datasets import combine, open_dataset, splits
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.errors import ConfigError, DataError

SHAPE = (64, 64)


def test_samples_keep_their_order_and_classes_follow_their_names() -> None:
    first = SyntheticDataset(2, 1, ("cort", "astro"), SHAPE)
    second = SyntheticDataset(2, 2, ("astro", "cort"), SHAPE)
    both = combine([first, second])
    assert both.class_names == ("cort", "astro")
    for index, (part, position) in enumerate([(first, 0), (first, 1), (second, 0), (second, 1)]):
        sample, source = both[index], part[position]
        np.testing.assert_array_equal(sample.image.pixels, source.image.pixels)
        np.testing.assert_array_equal(sample.instances.runs, source.instances.runs)
        names = [both.class_names[label] for label in sample.instances.classes]
        assert names == [source.info.cell_type] * len(source.instances)
        assert both.instances(index).class_names == both.class_names


def test_class_map_renames_classes_and_cell_types() -> None:
    parts = [SyntheticDataset(1, 0, (name,), SHAPE) for name in ("cort", "astro")]
    both = combine(parts, class_map={"astro": "cort"})
    assert both.class_names == ("cort",)
    assert [info.cell_type for info in both.infos] == ["cort", "cort"]
    assert set(both[1].instances.classes.tolist()) <= {0}


def test_a_class_that_is_not_asked_for_is_unknown() -> None:
    both = combine([SyntheticDataset(2, 0, ("cort", "astro"), SHAPE)], class_names=("astro",))
    assert set(both[0].instances.classes.tolist()) == {-1}
    assert set(both[1].instances.classes.tolist()) == {0}


def test_equal_ids_get_the_datasets_name_and_number() -> None:
    dataset = SyntheticDataset(1, 0, ("cort",), SHAPE)
    both = combine([dataset, dataset])
    assert [info.id for info in both.infos] == ["synthetic-1/synthetic-0-0000", "synthetic-2/synthetic-0-0000"]
    assert len({info.group for info in both.infos}) == 2
    assert combine([dataset]).infos[0].id == "synthetic-0-0000"


def test_unknown_classes_and_no_dataset_are_refused() -> None:
    with pytest.raises(ConfigError, match="class_map: no dataset has SHSY5Y; the classes are cort"):
        combine([SyntheticDataset(1, 0, ("cort",), SHAPE)], class_map={"SHSY5Y": "shsy5y"})
    with pytest.raises(DataError, match="combine: no dataset given"):
        combine([])


def test_folds_of_one_dataset_leave_the_other_in_training(real_data: Path) -> None:
    parts = [open_dataset(real_data / "sartorius"), open_dataset(real_data / "livecell")]
    both = combine(parts, class_map={"SHSY5Y": "shsy5y"})
    assert "SHSY5Y" not in both.class_names
    training, validation = splits(both, 0)
    assert {both.infos[i].id for i in validation} == {parts[0].infos[i].id for i in splits(parts[0], 0)[1]}
    assert len(training) + len(validation) == len(both)
