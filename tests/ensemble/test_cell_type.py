"""The cell type of an image, from its cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cytotome.datasets import open_dataset
from cytotome.ensemble.cell_type import describe, fit_type_classifier, majority_type
from cytotome.errors import ConfigError
from cytotome.types import Instances

from .conftest import disturb


def test_the_majority_is_by_score() -> None:
    masks = np.ones((3, 2, 2), bool)
    cells = Instances.from_masks(masks, classes=[0, 0, 1], scores=[0.3, 0.3, 0.7], class_names=("a", "b"))
    assert majority_type(cells) == "b"
    assert majority_type(cells.select([0, 1])) == "a"
    assert majority_type(Instances.empty((2, 2), ("a",))) == ""
    assert majority_type(replace(cells, classes=np.full(3, -1, np.int32))) == ""


def test_the_classifier_tells_types_by_shape_where_classes_say_nothing() -> None:
    dataset = open_dataset("synthetic:12")
    found, kinds = [], []
    for index, info in enumerate(dataset.infos):
        truth = dataset.instances(index)
        assert truth is not None
        views = [disturb(truth, 100 * index + seed) for seed in range(3)]
        found += [replace(view, classes=np.zeros(len(view), np.int32), class_names=("cell",)) for view in views]
        kinds += [info.cell_type] * 3
    half = 3 * (len(dataset) // 2)
    classifier = fit_type_classifier(found[:half], kinds[:half])
    right = [classifier.predict(view) == kind for view, kind in zip(found[half:], kinds[half:], strict=True)]
    assert np.mean(right) >= 0.9
    assert sum(classifier.probabilities(found[-1]).values()) == pytest.approx(1)
    again = type(classifier).model_validate_json(classifier.model_dump_json())
    assert again.predict(found[-1]) == classifier.predict(found[-1])


def test_an_empty_image_is_described_and_wrong_input_is_named() -> None:
    nothing = Instances.empty((8, 8), ("a",))
    assert not describe(nothing).any()
    with pytest.raises(ConfigError, match="needs images of two types or more"):
        fit_type_classifier([nothing, nothing], ["a", "a"])
    classifier = fit_type_classifier([nothing, nothing], ["a", "b"])
    with pytest.raises(ConfigError, match="the classifier takes 7 features, got 6"):
        classifier.predict(Instances.empty((8, 8)))
