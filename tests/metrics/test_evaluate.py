from __future__ import annotations

import json

import numpy as np
import pytest

from cytotome.errors import ConfigError, DataError
from cytotome.metrics.challenge import image_score
from cytotome.metrics.coco import coco_scores
from cytotome.metrics.evaluate import evaluate, score_image
from cytotome.types import Dataset, Image, Instances, Sample, SampleInfo


class Handful(Dataset):
    """A few samples held in memory."""

    name = "handful"

    def __init__(self, *samples):
        self.samples = samples
        self.infos = tuple(info for info, _ in samples)
        self.class_names = ("astro", "cort")

    def read(self, index):
        info, instances = self.samples[index]
        return Sample(info, Image(np.zeros((48, 56), np.uint8)), instances)


def squares(count, **attributes):
    masks = np.zeros((count, 48, 56), bool)
    for index, mask in enumerate(masks):
        mask[10 * index : 10 * index + 8, 5:15] = True
    return Instances.from_masks(masks, shape=(48, 56), **attributes)


def sample(name, cell_type, instances, quality="full"):
    return SampleInfo(name, cell_type=cell_type, mask_quality=quality), instances


def test_means_are_over_images_and_types_are_apart():
    truths = Handful(
        sample("a", "astro", squares(4)),
        sample("b", "cort", squares(2)),
        sample("c", "cort", squares(1)),
    )
    found = {"a": squares(2), "b": squares(2), "c": Instances.empty((48, 56))}
    evaluation = evaluate(found, truths)
    assert [image.scores.mean_ap for image in evaluation.images] == [0.5, 1.0, 0.0]
    assert {name: group.scores.mean_ap for name, group in evaluation.types.items()} == {"astro": 0.5, "cort": 0.5}
    assert evaluation.score == evaluation.overall.scores.mean_ap == pytest.approx(0.5)
    assert (evaluation.overall.truths, evaluation.overall.predictions, evaluation.overall.images) == (7, 4, 3)
    assert evaluation.types["cort"].scores.f1 == pytest.approx((1 + 0) / 2)
    assert evaluation.types["astro"].scores.precision == 1.0
    assert evaluation.types["astro"].scores.recall == 0.5
    assert evaluation.notes == ()


def test_no_image_is_read_for_its_masks():
    class Unseen(Handful):
        def read(self, index):
            raise AssertionError("a picture was read")

        def instances(self, index):
            return self.samples[index][1]

    assert evaluate({"a": squares(2)}, Unseen(sample("a", "astro", squares(4)))).score == 0.5


def test_each_score_is_that_of_its_own_metric(real_pairs):
    predictions = {name: pair[0] for name, pair in real_pairs.items()}
    truths = {name: pair[1] for name, pair in real_pairs.items()}
    evaluation = evaluate(predictions, truths)
    assert set(evaluation.types) == {"shsy5y", "astro", "cort"}
    for image in evaluation.images:
        assert image.scores.mean_ap == image_score(*real_pairs[image.id])
        assert image.scores.f1 == pytest.approx(2 * image.scores.ap50 / (1 + image.scores.ap50))
        assert image.scores.ap50 >= image.scores.ap75 >= image.scores.ap90
    for found, expected in zip(
        evaluation.overall.coco, coco_scores(list(predictions.values()), list(truths.values())), strict=True
    ):
        assert (found.max_detections, found.ap, found.ar) == (expected.max_detections, expected.ap, expected.ar)


def test_the_kernel_rule_reaches_every_image(random_pair):
    predictions, truth = random_pair(5)
    both = [evaluate({"a": predictions}, {"a": truth}, rule=rule).score for rule in ("matching", "kernel")]
    assert both == [image_score(predictions, truth, rule) for rule in ("matching", "kernel")]
    assert both[0] != both[1]
    with pytest.raises(ConfigError, match="rule must be one of"):
        evaluate({"a": predictions}, {"a": truth}, rule="greedy")


def test_masks_that_are_not_exact_are_left_out_with_a_note():
    truths = Handful(
        sample("a", "astro", squares(3)),
        sample("b", "cort", squares(3), "approximate"),
        sample("c", "cort", None, "none"),
    )
    evaluation = evaluate({"a": squares(3), "b": squares(1), "c": squares(1)}, truths)
    assert [image.id for image in evaluation.images] == ["a"]
    assert evaluation.notes == (
        "1 of 3 images have approximate masks and are left out",
        "1 of 3 images have no masks and are left out",
    )


def test_missing_predictions_count_as_nothing_found_and_are_noted():
    truths = {"a": squares(3), "b": squares(2)}
    evaluation = evaluate({"a": squares(3), "z": squares(1)}, truths)
    assert evaluation.score == 0.5
    assert evaluation.notes == (
        "1 of 2 images have no prediction and count as empty, the first is 'b'",
        "1 predictions belong to images that are not in the truth, first 'z'",
    )
    assert evaluate({}, truths).score == 0.0


def test_type_of_plain_instances_is_the_class_of_most():
    truth = squares(3, classes=[1, 1, 0], class_names=("astro", "cort"))
    assert list(evaluate({"a": truth}, {"a": truth}).types) == ["cort"]
    assert list(evaluate({"a": squares(2)}, {"a": squares(2)}).types) == []


def test_dict_and_text_hold_what_was_found():
    truth = squares(4, classes=[0] * 4, class_names=("astro",))
    evaluation = evaluate({"a": squares(2)}, {"a": truth, "b": truth})
    whole = json.loads(evaluation.to_json())
    assert whole == evaluation.to_dict()
    assert whole["overall"]["scores"]["mean_ap"] == whole["types"]["astro"]["scores"]["mean_ap"] == 0.25
    assert [image["id"] for image in whole["images"]] == ["a", "b"]
    assert whole["overall"]["coco"][0]["ap_large"] is None
    lines = str(evaluation).splitlines()
    assert lines[0].split()[:6] == ["cell", "type", "images", "cells", "found", "mAP"]
    assert lines[1].split()[:5] == ["astro", "2", "8", "2", "0.250"]
    assert lines[2].split()[:5] == ["overall", "2", "8", "2", "0.250"]
    assert lines[-1] == "note: 1 of 2 images have no prediction and count as empty, the first is 'b'"


def test_coco_can_be_left_out():
    evaluation = evaluate({"a": squares(2)}, {"a": squares(2)}, coco=False)
    assert evaluation.overall.coco == ()
    assert "COCO" not in evaluation.to_text()


def test_an_empty_image_left_empty_is_right_in_every_score():
    scores = score_image(Instances.empty((4, 6)), Instances.empty((4, 6)))
    assert {getattr(scores, name) for name in scores.__slots__} == {1.0}


def test_nothing_to_score_is_refused():
    with pytest.raises(DataError, match="handful: no image has masks"):
        evaluate({"a": squares(1)}, Handful(sample("a", "", None, "none")))
    with pytest.raises(DataError, match="predicted 'z', truth has 'a'"):
        evaluate({"z": squares(1)}, {"a": squares(1)})
    with pytest.raises(DataError, match=r"a: the prediction has shape \(4, 6\), the truth \(48, 56\)"):
        evaluate({"a": Instances.empty((4, 6))}, {"a": squares(1)})
    with pytest.raises(DataError, match="a: listed as labelled but without masks"):
        evaluate({"a": squares(1)}, Handful(sample("a", "", None)))
