"""Predictions of every kind give the same scores as the instances that they were written from."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from cytotome.app.evaluate import run_evaluate
from cytotome.datasets import open_dataset, splits
from cytotome.datasets.predictions import read_predictions
from cytotome.errors import DataError
from cytotome.io.coco import write_coco, write_coco_results
from cytotome.io.exports import load_export
from cytotome.io.labels import write_label_map
from cytotome.io.submission import write_submission
from cytotome.metrics.evaluate import evaluate
from cytotome.ops.labels import resolve_overlaps
from cytotome.types import Dataset, Instances


@pytest.fixture
def truth(tmp_path: Path) -> Dataset:
    """Three images of discs with label maps, in the layout ``images/`` and ``labels/``."""
    generator = np.random.default_rng(0)
    for name in ("one", "two", "three"):
        labels = np.zeros((60, 80), np.uint16)
        for number in range(1, 9):
            centre = (int(generator.integers(80)), int(generator.integers(60)))
            cv2.circle(labels, centre, int(generator.integers(4, 9)), number, -1)
        for folder in ("images", "labels"):
            (tmp_path / "truth" / folder).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(
            str(tmp_path / "truth/images" / f"{name}.png"), generator.integers(0, 255, (60, 80)).astype(np.uint8)
        )
        cv2.imwrite(str(tmp_path / "truth/labels" / f"{name}.png"), labels)
    return open_dataset(tmp_path / "truth")


@pytest.fixture
def predicted(truth: Dataset) -> dict[str, Instances]:
    """The truth, each mask moved by up to two pixels, without the last cell; scores fall with the id."""
    found = {}
    for index, info in enumerate(truth.infos):
        instances = truth.instances(index)
        assert instances is not None
        labels = np.zeros((60, 80), np.int32)
        source = instances.select(np.arange(len(instances) - 1)).to_label_map()
        labels[2:, 1:] = source[:-2, :-1]
        moved = Instances.from_label_map(labels)
        scores = 1 - moved.ids / 20
        found[info.id] = Instances.from_label_map(
            labels, scores=scores, classes=np.zeros(len(moved)), class_names=("cell",)
        )
    return found


def write_labels(folder: Path, predicted: dict[str, Instances], ending: str = "_labels") -> Path:
    for name, instances in predicted.items():
        write_label_map(folder / f"{name}{ending}.tif", instances.to_label_map())
    return folder


def score(path: Path, truth: Dataset) -> tuple[float, int]:
    evaluation = evaluate(read_predictions(path, truth), truth)
    return evaluation.score, evaluation.overall.predictions


def test_all_kinds_of_files_score_alike(tmp_path: Path, truth: Dataset, predicted: dict[str, Instances]) -> None:
    expected = evaluate(predicted, truth)
    assert 0.1 < expected.score < 0.9
    write_submission(tmp_path / "submission.csv", predicted)
    write_coco(
        tmp_path / "coco.json.gz",
        dict(enumerate(predicted.values())),
        file_names={k: f"somewhere/{name}.png" for k, name in enumerate(predicted)},
    )
    write_coco_results(tmp_path / "results.json", dict(predicted))
    for name in ("geojson", "imagej"):
        (tmp_path / name).mkdir()
        for index, (image, cells) in enumerate(predicted.items()):
            export = load_export(name)
            export.write(tmp_path / name / f"{image}{export.ending}", truth[index].image, cells)
    paths = [
        tmp_path / "geojson",
        tmp_path / "imagej",
        write_labels(tmp_path / "plain", predicted, ""),
        write_labels(tmp_path / "marked", predicted),
        write_labels(tmp_path / "deep" / "A01", predicted, "_cp_masks").parent,
        tmp_path / "submission.csv",
        tmp_path / "coco.json.gz",
        tmp_path / "results.json",
    ]
    for path in paths:
        assert score(path, truth) == (pytest.approx(expected.score), expected.overall.predictions), path


def test_scores_beside_label_maps_are_used(tmp_path: Path, truth: Dataset, predicted: dict[str, Instances]) -> None:
    folder = write_labels(tmp_path / "out" / "A01", predicted).parent
    rows = [
        f"A01/{name}.png,{cell},{score:.4f}"
        for name, instances in predicted.items()
        for cell, score in zip(instances.ids, instances.scores, strict=True)
    ]
    (folder / "cells.csv").write_text("image,cell,score\n" + "\n".join(rows) + "\n")
    read = read_predictions(folder, truth)
    for name, instances in predicted.items():
        np.testing.assert_allclose(read[name].scores, instances.scores, atol=1e-4)
        np.testing.assert_array_equal(read[name].ids, resolve_overlaps(instances).ids)


def test_classes_beside_label_maps_are_used(tmp_path: Path, truth: Dataset, predicted: dict[str, Instances]) -> None:
    folder = write_labels(tmp_path / "out", predicted)
    name, instances = next(iter(predicted.items()))
    ids = resolve_overlaps(instances).ids[:3]
    rows = [f"{name}.png,{cell},{kind},0.5" for cell, kind in zip(ids, ("round", "", "flat"), strict=True)]
    (folder / "cells.csv").write_text("image,cell,class,score\n" + "\n".join(rows) + "\n")
    read = read_predictions(folder, truth)[name]
    assert read.class_names == ("flat", "round")
    kinds = dict(zip(read.ids.tolist(), read.classes.tolist(), strict=True))
    assert [kinds[cell] for cell in ids.tolist()] == [1, -1, 0]
    assert set(kinds.values()) == {-1, 0, 1}


def test_predictions_of_a_coco_dataset_are_found_by_its_ids(
    tmp_path: Path, truth: Dataset, predicted: dict[str, Instances]
) -> None:
    masks = {10 + index: truth.instances(index) for index in range(3)}
    names = {10 + index: f"{info.id}.png" for index, info in enumerate(truth.infos)}
    write_coco(tmp_path / "truth/truth.json", masks, file_names=names)  # type: ignore[arg-type]
    dataset = open_dataset(tmp_path / "truth/truth.json")
    results = {10 + index: predicted[info.id] for index, info in enumerate(truth.infos)}
    write_coco_results(tmp_path / "results.json", results)
    assert score(tmp_path / "results.json", dataset)[0] == pytest.approx(evaluate(predicted, truth).score)
    subset = dataset.subset([1])
    assert next(iter(read_predictions(tmp_path / "results.json", subset))) in {info.id for info in dataset.infos}


def test_text_and_json_say_the_same(tmp_path: Path, truth: Dataset, predicted: dict[str, Instances]) -> None:
    folder = write_labels(tmp_path / "out", predicted)
    text = run_evaluate(
        folder, str(tmp_path / "truth"), json_file=tmp_path / "s/scores.json", rule="kernel", layout=None, fold=None
    )
    scores = json.loads((tmp_path / "s/scores.json").read_text())
    assert scores["rule"] == "kernel"
    assert f"{scores['overall']['scores']['mean_ap']:.3f}" in text
    assert len(scores["images"]) == 3


def test_a_fold_alone_is_scored(real_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(real_data / "sartorius")
    fold = [k for k, info in enumerate(dataset.infos) if info.fold == 1 and info.mask_quality == "full"]
    write_submission(tmp_path / "a.csv", {dataset.infos[k].id: dataset.instances(k) for k in fold})  # type: ignore[misc]
    text = run_evaluate(
        tmp_path / "a.csv", str(real_data / "sartorius"), json_file=None, rule="matching", layout=None, fold=1
    )
    overall = next(line for line in text.splitlines() if line.startswith("overall"))
    assert int(overall.split()[1]) == len(fold)
    assert float(overall.split()[4]) > 0.9


def test_folds_are_those_of_training(tmp_path: Path, truth: Dataset, predicted: dict[str, Instances]) -> None:
    out = write_labels(tmp_path / "out", predicted)
    options = {"json_file": tmp_path / "scores.json", "rule": "matching", "layout": None}
    run_evaluate(out, str(tmp_path / "truth"), fold=1, **options)  # type: ignore[arg-type]
    held_out = [truth.infos[index].id for index in splits(truth, 1)[1]]
    images = json.loads((tmp_path / "scores.json").read_text())["images"]
    assert [image["id"] for image in images] == held_out
    write_submission(tmp_path / "all.csv", predicted)
    assert "does not have" not in run_evaluate(tmp_path / "all.csv", str(tmp_path / "truth"), fold=1, **options)  # type: ignore[arg-type]
    assert [image["id"] for image in json.loads((tmp_path / "scores.json").read_text())["images"]] == held_out
    with pytest.raises(DataError, match=r"truth: fold 3 has no image with full masks; choose one of: 0, 1, 2"):
        run_evaluate(out, str(tmp_path / "truth"), fold=3, **options)  # type: ignore[arg-type]


def test_two_label_maps_of_one_image_are_an_error(
    tmp_path: Path, truth: Dataset, predicted: dict[str, Instances]
) -> None:
    write_labels(tmp_path / "out" / "a", predicted)
    write_labels(tmp_path / "out" / "b", predicted)
    with pytest.raises(DataError, match=r"b/one_labels\.tif: a second label map of 'one', as well as .*a/one_lab"):
        read_predictions(tmp_path / "out", truth)


def test_a_folder_without_label_maps_is_an_error(tmp_path: Path, truth: Dataset) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match=r"bare: contains no label map; expected files ending in \.tif"):
        read_predictions(tmp_path / "bare", truth)


def test_equal_names_in_two_folders_are_told_apart(tmp_path: Path, predicted: dict[str, Instances]) -> None:
    one, two, _ = (resolve_overlaps(cells) for cells in predicted.values())
    names = {5: "x/6.png", 6: "y/6.png"}
    write_coco(tmp_path / "truth.json", {5: one, 6: two}, file_names=names)  # type: ignore[dict-item]
    dataset = open_dataset(tmp_path / "truth.json")
    write_labels(tmp_path / "out", {"x/6": one, "y/6": two})
    write_coco(tmp_path / "found.json", {1: two, 2: one}, file_names={1: "y/6.png", 2: "x/6.png"})
    write_coco_results(tmp_path / "results.json", {5: one, 6: two})
    for path in (tmp_path / "out", tmp_path / "found.json", tmp_path / "results.json"):
        evaluation = evaluate(read_predictions(path, dataset), dataset)
        assert (evaluation.score, [image.id for image in evaluation.images]) == (1.0, ["x/6", "y/6"])
    write_coco(tmp_path / "bare.json", {1: two, 2: one}, file_names={1: "x/6.png", 2: "x/6_masks.png"})
    with pytest.raises(
        DataError, match=r"x/6\.png and x/6_masks\.png are both predictions of 'x/6'; name them by their"
    ):
        read_predictions(tmp_path / "bare.json", dataset)


def test_label_maps_of_no_image_are_named_with_the_nearest(
    tmp_path: Path, truth: Dataset, predicted: dict[str, Instances]
) -> None:
    folder = write_labels(tmp_path / "out", {"one": predicted["one"], "tow": predicted["two"]})
    write_label_map(folder / "three.tif", predicted["three"].to_label_map())
    read = read_predictions(folder, truth)
    assert sorted(read) == ["one", "tow"]
    strange, left = map(str, read.notes)
    assert strange.endswith("not used (1): tow_labels.tif (nearest image: two); rename them after their images")
    assert left.startswith("files have the name of an image and are not read as its label map (1): three")


def test_notes_of_the_truth_and_of_coco_predictions_are_said_once(
    tmp_path: Path, truth: Dataset, predicted: dict[str, Instances], capsys: pytest.CaptureFixture[str]
) -> None:
    write_label_map(tmp_path / "truth/labels/fuor.png", np.eye(3, dtype=np.uint8))
    names = {number: f"{name}.png" for number, name in enumerate(predicted)}
    write_coco(tmp_path / "found.json", dict(enumerate(predicted.values())), file_names=names)  # type: ignore[arg-type]
    content = json.loads((tmp_path / "found.json").read_text())
    content["annotations"].append({**content["annotations"][0], "image_id": 9})
    (tmp_path / "found.json").write_text(json.dumps(content))
    run_evaluate(
        tmp_path / "found.json", str(tmp_path / "truth"), json_file=None, rule="matching", layout=None, fold=None
    )
    first, second = capsys.readouterr().err.splitlines()
    assert "truth: label maps fit no image and are not used (1): labels/fuor.png (nearest image: " in first
    assert "1 annotations are of images that the file does not have, and not used; images (1): image_id 9 (1)" in second
