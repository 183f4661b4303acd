from __future__ import annotations

import gzip
import json
import re
import time

import numpy as np
import pytest
from hotcoco import COCO

from cytotome.errors import DataError
from cytotome.io.coco import coco_part, read_coco, write_coco, write_coco_parts, write_coco_results
from cytotome.ops.runs import mask_runs
from cytotome.types import Instances

SQUARE = {"size": [4, 6], "counts": [4, 2, 2, 2, 14]}


RESULT = {"image_id": 7, "category_id": 3, "segmentation": SQUARE, "score": 0.5}


def content(**changes):
    annotation = {"id": 1, "image_id": 7, "category_id": 3, "segmentation": SQUARE, "iscrowd": 0}
    image = {"id": 7, "file_name": "a.png", "height": 4, "width": 6}
    categories = [{"id": 9, "name": "cort"}, {"id": 3, "name": "astro"}]
    return {"images": [image], "annotations": [annotation], "categories": categories} | changes


def written(path, value):
    path.write_text(json.dumps(value))
    return path


def random_images(seed=0):
    rng = np.random.default_rng(seed)
    return {
        key: Instances.from_masks(
            rng.random((count, 9, 8)) < 0.4,
            shape=(9, 8),
            scores=rng.random(count).astype(np.float32),
            classes=rng.integers(-1, 2, count),
            class_names=("cort", "astro"),
        )
        for key, count in (("x", 3), (12, 5), ("none", 0))
    }


def same(first, second):
    assert first.shape == second.shape
    np.testing.assert_array_equal(first.runs, second.runs)
    np.testing.assert_array_equal(first.offsets, second.offsets)
    np.testing.assert_array_equal(first.classes, second.classes)
    assert first.class_names == second.class_names


def test_classes_follow_the_category_ids(tmp_path):
    file = read_coco(written(tmp_path / "a.json", content()))
    assert (file.class_names, file.category_ids) == (("astro", "cort"), (3, 9))
    instances = file.instances(7)
    assert instances.runs.tolist() == [[0, 1, 3], [1, 1, 3]]
    assert (instances.classes.tolist(), instances.scores.tolist(), instances.ids.tolist()) == ([0], [1], [1])


def test_crowds_are_left_out_and_given_as_a_region(tmp_path):
    entries = content()["annotations"]
    entries.append(entries[0] | {"id": 2, "iscrowd": 1, "segmentation": {"size": [4, 6], "counts": [0, 1, 23]}})
    file = read_coco(written(tmp_path / "a.json", content(annotations=entries)))
    assert len(file.instances(7)) == 1
    assert mask_runs(file.crowd(7)).tolist() == [[0, 0, 1]]
    assert read_coco(written(tmp_path / "b.json", content())).crowd(7) is None


def test_masks_without_pixels_are_left_out(tmp_path):
    entries = content()["annotations"]
    entries.insert(0, entries[0] | {"id": 2, "segmentation": [[1, 1, 2, 2]], "category_id": 9})
    file = read_coco(written(tmp_path / "a.json", content(annotations=entries)))
    assert file.instances(7).classes.tolist() == [0]


def test_annotations_may_be_a_mapping_as_in_livecell(tmp_path):
    entries = {str(entry["id"]): entry for entry in content()["annotations"]}
    assert len(read_coco(written(tmp_path / "a.json", content(annotations=entries))).instances(7)) == 1


@pytest.mark.parametrize("name", ["truth.json", "truth.json.gz"])
def test_ground_truth_comes_back(tmp_path, name):
    images = random_images()
    write_coco(tmp_path / name, images, file_names={"x": "x.tif", 12: "y.tif", "none": "z.tif"})
    file = read_coco(tmp_path / name)
    assert [image.file_name for image in file.images] == ["x.tif", "y.tif", "z.tif"]
    for key, instances in images.items():
        same(file.instances(key), instances)


def test_a_file_of_parts_holds_masks_and_scores(tmp_path):
    images = random_images()
    parts = [json.loads(json.dumps(coco_part(f"{key}.tif", instances))) for key, instances in images.items()]
    write_coco_parts(tmp_path / "a.json", iter(parts))
    file = read_coco(tmp_path / "a.json")
    assert [(image.id, image.file_name) for image in file.images] == [(1, "x.tif"), (2, "12.tif"), (3, "none.tif")]
    for image, instances in zip(file.images, images.values(), strict=True):
        same(file.instances(image.id), instances)
        np.testing.assert_allclose(file.instances(image.id).scores, instances.scores, atol=5e-5)
    peer = COCO(str(tmp_path / "a.json"))
    assert sorted(peer.getAnnIds()) == list(range(1, 9))
    write_coco_parts(tmp_path / "none.json", [])
    assert read_coco(tmp_path / "none.json").images == ()
    parts[1]["class_names"] = ["other"]
    with pytest.raises(DataError, match="the images have different class names"):
        write_coco_parts(tmp_path / "b.json", parts)
    assert not (tmp_path / "b.json").exists()


def test_ground_truth_is_read_by_a_peer(tmp_path):
    images = {1: random_images()["x"], 2: random_images(5)[12]}
    write_coco(tmp_path / "truth.json", images)
    peer = COCO(str(tmp_path / "truth.json"))
    assert sorted(peer.getImgIds()) == [1, 2]
    for key, instances in images.items():
        entries = peer.loadAnns(peer.getAnnIds(imgIds=[key]))
        assert sorted(int(peer.annToMask(entry).sum()) for entry in entries) == sorted(instances.areas.tolist())
        boxes = sorted([x0, y0, x1 - x0, y1 - y0] for y0, x0, y1, x1 in instances.boxes.tolist())
        assert sorted(entry["bbox"] for entry in entries) == boxes


def test_results_come_back_with_the_categories_of_the_truth(tmp_path):
    truth = read_coco(written(tmp_path / "a.json", content()))
    predicted = Instances.from_masks(
        np.ones((2, 4, 6), bool), scores=[0.25, 0.5], classes=[1, 0], class_names=("astro", "cort")
    )
    write_coco_results(tmp_path / "r.json", {7: predicted}, like=truth)
    assert [entry["category_id"] for entry in json.loads((tmp_path / "r.json").read_text())] == [9, 3]
    file = read_coco(tmp_path / "r.json", like=truth)
    same(file.instances(7), predicted)
    assert file.instances(7).scores.tolist() == [0.25, 0.5]


def test_results_alone_name_their_images_by_the_masks(tmp_path):
    images = random_images()
    write_coco_results(tmp_path / "r.json", images)
    file = read_coco(tmp_path / "r.json")
    assert [image.id for image in file.images] == ["x", 12]
    for key in ("x", 12):
        np.testing.assert_array_equal(file.instances(key).runs, images[key].runs)
        np.testing.assert_array_equal(file.instances(key).scores, images[key].scores)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (gzip.compress(b"{}", mtime=0)[:-4], "not valid JSON"),
        (b"\x1f\x8bxxxxxxxxxxxxxxx", "not valid JSON"),
        (b"{}", "not in COCO format (KeyError: 'images')"),
        (b"3", "not in COCO format"),
        (b"[3]", "not COCO results"),
        (json.dumps(content(images=[{"id": 1, "height": 100000, "width": 100000}])).encode(), "100000x100000 pixels"),
        (
            json.dumps(content(images=[{"id": 1, "height": "a", "width": 3}])).encode(),
            "not in COCO format (ValueError",
        ),
        (json.dumps([RESULT | {"segmentation": {"size": [0, 0], "counts": []}}]).encode(), "not COCO results"),
        (json.dumps([RESULT | {"segmentation": {"size": 5, "counts": []}}]).encode(), "not COCO results"),
        (json.dumps(content(categories=[{"id": 1.5, "name": "a"}])).encode(), "1.5 is not a whole number"),
        (json.dumps(content(images=[{"id": 1, "height": 1e400, "width": 3}])).encode(), "inf is not a whole number"),
    ],
)
def test_files_that_are_not_coco_are_named(tmp_path, text, message):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(DataError, match=r"a\.json.*" + re.escape(message)):
        read_coco(tmp_path / "a.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.json: cannot be read \(No such file or directory\)"):
        read_coco(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [4, 6], "counts": [3]}, "do not add up to 4x6"),
        ([[1, 2, 3]], "expected x, y pairs"),
        (None, "annotation 1 has no segmentation"),
        ({"size": 5, "counts": [24]}, "needs counts and the size"),
        ({"size": [0, 0], "counts": []}, "needs counts and the size"),
    ],
)
def test_damaged_annotations_are_named_with_file_and_image(tmp_path, segmentation, message):
    entry = content()["annotations"][0] | {"segmentation": segmentation}
    file = read_coco(written(tmp_path / "a.json", content(annotations=[entry])))
    with pytest.raises(DataError, match=r"a\.json: image 7: .*" + message):
        file.instances(7)


@pytest.mark.parametrize("laid_out", [lambda entry: [entry], lambda entry: content(annotations=[entry])])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"category_id": "abc"}, "category_id must be a whole number, got 'abc'; export it again"),
        ({"category_id": [1]}, "category_id must be a whole number, got [1]"),
        ({"category_id": None}, "category_id must be a whole number, got None"),
        ({"category_id": 1.5}, "category_id must be a whole number, got 1.5"),
        ({"score": "abc"}, "score must be a number from 0 to 1, got 'abc'; export it again"),
        ({"score": None}, "score must be a number from 0 to 1, got None"),
        ({"score": float("nan")}, "score must be a number from 0 to 1, got nan"),
        ({"score": 5}, "score must be a number from 0 to 1, got 5"),
    ],
)
def test_categories_and_scores_that_are_none_are_named(tmp_path, changes, message, laid_out):
    with pytest.raises(DataError, match=re.escape(f"a.json: image 7: {message}")):
        read_coco(written(tmp_path / "a.json", laid_out(RESULT | changes)))


def test_numbers_may_be_written_as_text(tmp_path):
    entry = RESULT | {"category_id": "9", "score": "0.25"}
    instances = read_coco(written(tmp_path / "a.json", content(annotations=[entry]))).instances(7)
    assert (instances.classes.tolist(), instances.scores.tolist()) == ([1], [0.25])
    assert read_coco(written(tmp_path / "r.json", [entry])).category_ids == (9,)


def entries(*changes):
    """Annotations of image 7 with some fields changed, numbered."""
    return [content()["annotations"][0] | {"id": index + 1} | change for index, change in enumerate(changes)]


@pytest.mark.parametrize("text", ["0", 0.0, False])
def test_a_flag_that_is_no_number_marks_no_crowd(tmp_path, text):
    file = read_coco(written(tmp_path / "a.json", content(annotations=entries({"iscrowd": text}, {}))))
    assert (len(file.instances(7)), file.crowd(7), file.notes) == (2, None, ())


@pytest.mark.parametrize("value", ["no", 2, None])
def test_a_flag_that_is_neither_is_refused(tmp_path, value):
    with pytest.raises(DataError, match=rf"image 7: iscrowd must be 0 or 1, got {value!r}; export it again"):
        read_coco(written(tmp_path / "a.json", content(annotations=entries({"iscrowd": value}))))


@pytest.mark.parametrize("flag", [1, "1", True])
def test_masks_that_are_all_marked_as_crowds_are_cells(tmp_path, flag):
    file = read_coco(written(tmp_path / "a.json", content(annotations=entries({"iscrowd": flag}, {"iscrowd": flag}))))
    assert (len(file.instances(7)), file.crowd(7)) == (2, None)
    assert list(map(str, file.notes)) == [
        "2 masks, all of the file, are marked iscrowd; they are treated as cells; images (1): a.png (2)"
    ]


def test_crowds_beside_cells_are_counted(tmp_path):
    file = read_coco(written(tmp_path / "a.json", content(annotations=entries({}, {"iscrowd": "1"}))))
    assert (len(file.instances(7)), int(file.crowd(7).sum())) == (1, 4)
    (note,) = file.notes
    assert "1 regions marked iscrowd are ignored" in str(note)
    assert note.names == ("a.png (1)",)


@pytest.mark.parametrize(("image_id", "own"), [("7", 7), (7, "7"), (7.0, 7)])
def test_image_ids_may_be_text_or_numbers(tmp_path, image_id, own):
    images = [content()["images"][0] | {"id": own}]
    path = written(tmp_path / "a.json", content(images=images, annotations=entries({"image_id": image_id})))
    file = read_coco(path)
    assert (len(file.instances(own)), file.notes) == (1, ())
    results = written(tmp_path / "r.json", [RESULT | {"image_id": image_id}])
    assert len(read_coco(results, like=file).instances(own)) == 1


def test_results_whose_ids_are_text_and_numbers_are_of_one_image(tmp_path):
    file = read_coco(written(tmp_path / "r.json", [RESULT, RESULT | {"image_id": "7"}]))
    assert [(image.id, len(file.instances(image.id))) for image in file.images] == [(7, 2)]


@pytest.mark.parametrize("second", [7, "7", 7.0])
def test_an_image_id_that_is_given_twice_is_refused(tmp_path, second):
    images = [content()["images"][0], content()["images"][0] | {"id": second, "file_name": "b.png"}]
    with pytest.raises(DataError, match=r"a\.json: the image id 7 is given twice, to 'a\.png' and 'b\.png'; give each"):
        read_coco(written(tmp_path / "a.json", content(images=images)))


def test_a_category_id_that_is_given_twice_is_refused(tmp_path):
    categories = [{"id": 3, "name": "cort"}, {"id": "3", "name": "astro"}]
    with pytest.raises(DataError, match="the category id 3 is given twice, to 'cort' and 'astro'"):
        read_coco(written(tmp_path / "a.json", content(categories=categories)))


def test_annotations_of_no_image_are_counted_or_refused(tmp_path):
    file = read_coco(written(tmp_path / "a.json", content(annotations=entries({}, {"image_id": 8}, {"image_id": 8}))))
    assert len(file.instances(7)) == 1
    (note,) = file.notes
    assert "2 annotations are of images that the file does not have, and not used" in note.what
    assert note.names == ("image_id 8 (2)",)
    with pytest.raises(DataError, match="none of its 1 annotations belongs to a known image: image_id 8"):
        read_coco(written(tmp_path / "b.json", content(annotations=entries({"image_id": 8}))))


@pytest.mark.parametrize(
    "nothing",
    [
        [],
        [[1, 1, 2, 2]],
        [[9, 9, 12, 9, 12, 12]],
        [[-4, 1, -1, 1, -1, 3]],
        {"size": [4, 6], "counts": [24]},
        {"size": [4, 6], "counts": "h0"},
        {"size": [4, 6], "counts": [4, 0, 20]},
    ],
)
def test_annotations_without_a_pixel_are_counted_or_refused(tmp_path, nothing):
    file = read_coco(written(tmp_path / "a.json", content(annotations=entries({}, {"segmentation": nothing}))))
    assert len(file.instances(7)) == 1
    assert list(map(str, file.notes)) == [
        "1 annotations hold no pixel and are not used; images (1): a.png (1); draw them again or remove them"
    ]
    with pytest.raises(DataError, match="none of its 1 annotations holds a pixel; boxes alone are not enough"):
        read_coco(written(tmp_path / "b.json", content(annotations=entries({"segmentation": nothing}))))


def test_annotations_of_an_unknown_category_are_counted(tmp_path):
    file = read_coco(written(tmp_path / "a.json", content(annotations=entries({}, {"category_id": 5}))))
    assert file.instances(7).classes.tolist() == [0, -1]
    (note,) = file.notes
    assert "1 annotations have no class: category_id 5 is not in the file" in note.what


def test_an_unknown_image_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.json: no image 8; it has 1 others"):
        read_coco(written(tmp_path / "a.json", content())).instances(8)


def test_classes_must_fit_together(tmp_path):
    mask = np.ones((1, 4, 6), bool)
    with pytest.raises(DataError, match="the images have different class names"):
        write_coco(
            tmp_path / "a.json",
            {1: Instances.from_masks(mask, class_names="a"), 2: Instances.from_masks(mask, class_names="b")},
        )
    truth = read_coco(written(tmp_path / "t.json", content()))
    with pytest.raises(DataError, match=r"t\.json has no category neuron"):
        write_coco_results(tmp_path / "r.json", {7: Instances.from_masks(mask, class_names=("neuron",))}, like=truth)
    assert not (tmp_path / "r.json").exists()


def test_all_annotations_of_the_challenge_decode_quickly(real_data):
    file = read_coco(real_data / "sartorius" / "annotations_without_images.json.gz")
    file.instances(file.images[0].id)
    begin = time.process_time()
    images = [file.instances(image.id) for image in file.images]
    assert time.process_time() - begin < 5
    assert [len(instances) for instances in images] == [len(file.annotations[image.id]) for image in file.images]
    stated = [entry["area"] for image in file.images for entry in file.annotations[image.id]]
    np.testing.assert_array_equal(np.concatenate([instances.areas for instances in images]), stated)
