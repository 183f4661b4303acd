"""A model's cells are reported in words, over all images together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.inference.known_images import inverted
from cytotome.training.finish import CellReport, known_look, known_types, report_cells
from cytotome.types import Image, Instances


def report(**changes: Any) -> CellReport:
    facts = {"held_out": True, "images": 4, "truths": 100, "found": 80, "hits": 60, "mean_ap": 0.4321}
    return CellReport(**{**facts, "min_score": 0.0, **changes})


def test_the_words_of_a_report() -> None:
    assert report().text() == (
        "held-out images (4): 80 cells found where there are 100 (count 20% too low); 60% of the cells are found with "
        "the right outline (IoU above 0.5), 25% of what is found is wrong; F1 0.67, mAP 0.432"
    )
    assert "(count right)" in report(found=100).text()
    assert "(count 50% too high)" in report(found=150).text()
    assert report(held_out=False).text().splitlines()[1].endswith("--fold 0 holds a fifth of the images out")
    assert report().scores == {"F1 at IoU 0.5, held-out images": 0.6667, "mAP, held-out images": 0.4321}
    assert report(held_out=False).scores == {}


def test_no_lower_threshold_is_advised_where_it_is_zero() -> None:
    nothing = report(found=0, hits=0, mean_ap=0.0)
    assert "min_score" not in nothing.text()
    assert "start from a trained model (--weights MODEL), or check the labels" in nothing.text()
    assert "lower decode.min_score (now 0.3)" in report(found=0, hits=0, min_score=0.3).text()
    assert report(truths=0, found=0, hits=0).f1 == 1.0


@pytest.mark.parametrize("held_out", [True, False])
def test_a_model_is_scored_on_held_out_images_where_there_are_any(disks: Any, held_out: bool) -> None:
    data = disks(3, 0)
    truth = data[0].instances
    one = np.zeros((48, 56), bool)
    one[0, 0] = True
    found = Instances.from_masks([*list(truth.masks())[:4], one], class_names=("disk",))
    model: Any = SimpleNamespace(segment=lambda image: found, parameters=SimpleNamespace(min_score=0.25))
    prepared: Any = SimpleNamespace(
        validation=((data, 0),) if held_out else (), sources=(SimpleNamespace(dataset=data.subset([0])),)
    )
    made = report_cells(model, prepared)
    assert (made.held_out, made.images, made.truths, made.found, made.hits) == (held_out, 1, 6, 5, 4)
    assert made.mean_ap == pytest.approx(4 / 7)
    assert made.min_score == 0.25


def test_types_and_polarity_are_measured_where_there_are_enough_images() -> None:
    """A model that finds the truth: the statistics are those of the true cells."""
    data = SyntheticDataset(20, seed=1, cell_types=("cort", "astro"), shape=(128, 160))
    truths = {sample.image.pixels.tobytes(): sample.instances for sample in map(data.__getitem__, range(len(data)))}

    def segment(image: Image, scale: float) -> Instances:
        assert scale == 1
        return truths.get(image.pixels.tobytes(), Instances.empty(image.shape, data.class_names))

    model: Any = SimpleNamespace(segment=segment, class_names=data.class_names)
    prepared: Any = SimpleNamespace(sources=(SimpleNamespace(dataset=data),))
    types = known_types(model, prepared)
    assert types is not None
    assert set(types.types) == {"cort", "astro"}
    assert not any(types.doubts(cells) for cells in truths.values())
    look = known_look(model, prepared)
    assert look is not None
    assert look.polarity is not None
    assert look.polarity.confused == 0  # nothing is found in inverted images
    image = data[0].image
    assert "inverted" in look.note(inverted(image), lambda: Instances.empty(image.shape, data.class_names))
    assert look.note(image, lambda: Instances.empty(image.shape, data.class_names)) == ""

    few: Any = SimpleNamespace(sources=(SimpleNamespace(dataset=data.subset(range(8))),))
    assert known_types(model, few) is None
    fewer_look = known_look(model, few)
    assert fewer_look is not None
    assert fewer_look.polarity is None
    one_type: Any = SimpleNamespace(segment=segment, class_names=("cell",))
    assert known_types(one_type, prepared) is None
