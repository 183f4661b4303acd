"""Crops by number: reproducible, balanced, from bounded memory."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from cytotome.contract import FamilyConfig
from cytotome.data.augment import Augmentation
from cytotome.data.sampling import Crops, CropSettings, PictureCache, Source, crop_loader, with_classes
from cytotome.errors import TrainingError
from cytotome.types import AnyArray, Dataset, Image, Instances, Sample, SampleInfo

SMALL = CropSettings(size=(32, 32), batch=4)


class Squares(Dataset):
    """Noise with one square of 20 x 20 pixels in each image; the square's grey level tells the image."""

    class_names = ("round", "square")

    def __init__(self, types: list[str], name: str = "squares", quality: str = "full") -> None:
        self.name = name
        self.infos = tuple(SampleInfo(f"{name}{i}", kind, mask_quality=quality) for i, kind in enumerate(types))  # type: ignore[arg-type]
        self.reads = 0

    def read(self, index: int) -> Sample:
        self.reads += 1
        pixels = np.random.default_rng(index).integers(0, 50, (60, 70)).astype(np.uint8)
        mask = np.zeros((60, 70), bool)
        mask[20:40, 30:50] = True
        pixels[mask] = 200
        unlabelled = self.infos[index].mask_quality == "none"
        instances = Instances.from_masks([mask], classes=np.array([1]), class_names=self.class_names)
        return Sample(self.infos[index], Image(pixels), None if unlabelled else instances)


def label_targets(instances: Instances, config: Any) -> dict[str, AnyArray]:
    return {"labels": instances.to_label_map()[None]}


def crops_of(*sources: Source, config: FamilyConfig | None = None, **options: Any) -> Crops:
    config = config or FamilyConfig(class_names=("round", "square"))
    return Crops(sources, label_targets, config, **{"settings": SMALL, **options})


def test_a_crop_holds_the_keys_of_a_batch() -> None:
    crop = crops_of(Source(Squares(["square"])))[0]
    assert {name: (tuple(value.shape), value.dtype) for name, value in crop.items()} == {
        "image": ((1, 32, 32), torch.float32),
        "valid": ((1, 32, 32), torch.float32),
        "labelled": ((), torch.bool),
        "cell_type": ((), torch.int64),
        "labels": ((1, 32, 32), torch.int32),
    }
    assert crop["cell_type"] == 1


def test_a_target_stands_in_the_place_of_a_key_of_its_name() -> None:
    def targets(instances: Instances, config: Any) -> dict[str, AnyArray]:
        return {"cell_type": np.full((1, *instances.shape), 5)}

    crop = Crops([Source(Squares(["square"]))], targets, FamilyConfig(), settings=SMALL)[0]
    assert crop["cell_type"].shape == (1, 32, 32)


def test_crops_depend_on_their_number_alone() -> None:
    crops = crops_of(Source(Squares(["square", "round", "round"])), augmentation=Augmentation(paste=0.5))
    first = [crops[index]["image"] for index in range(6)]
    again = [crops[index]["image"] for index in reversed(range(6))][::-1]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first[0], first[1])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # torch's advice where there is one processor
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_go_on_where_they_stood_with_any_number_of_workers(workers: int) -> None:
    crops = crops_of(Source(Squares(["square", "round"])))
    expected = [torch.stack([crops[4 * batch + place]["image"] for place in range(4)]) for batch in (2, 3)]
    loader = iter(crop_loader(crops, first_batch=2, workers=workers))
    for images in expected:
        assert torch.equal(next(loader)["image"], images)


def test_the_parts_of_a_batch_are_together_the_batch() -> None:
    crops = crops_of(Source(Squares(["square", "round"])))
    whole = iter(crop_loader(crops, first_batch=1, workers=0))
    parts = [iter(crop_loader(crops, first_batch=1, workers=0, part=part, parts=2)) for part in range(2)]
    for _ in range(3):
        together = torch.cat([next(part)["image"] for part in parts])
        assert torch.equal(next(whole)["image"], together)


def test_cell_types_and_sources_are_drawn_by_their_weights() -> None:
    many = Squares(["round"] * 9 + ["square"], "many")
    few = Squares(["square"], "few")
    crops = crops_of(Source(many, 3.0), Source(few, 1.0))
    places = [_place(crops, index) for index in range(800)]
    counts = Counter((source, (many, few)[source].infos[position].cell_type) for source, position in places)
    assert counts[1, "square"] / 800 == pytest.approx(0.25, abs=0.05)
    assert counts[0, "square"] / 800 == pytest.approx(0.375, abs=0.06)
    assert counts[0, "round"] / 800 == pytest.approx(0.375, abs=0.06)
    assert len({place for place in places if place[0] == 0}) == 10


def test_without_balance_each_image_counts_the_same() -> None:
    crops = crops_of(Source(Squares(["round"] * 9 + ["square"])), settings=CropSettings((32, 32), 4, balance=0.0))
    squares = sum(_place(crops, index) == (0, 9) for index in range(800))
    assert squares / 800 == pytest.approx(0.1, abs=0.04)


def _place(crops: Crops, index: int) -> tuple[int, int]:
    """Which sample a crop was drawn from, by watching what is asked of the memory."""
    seen: list[tuple[int, int]] = []
    original = crops.picture
    crops.picture = lambda place: seen.append(place) or original(place)  # type: ignore[method-assign, func-returns-value]
    try:
        crops[index]
    finally:
        del crops.picture
    return seen[0]


def test_streams_take_turns_in_a_batch() -> None:
    settings = CropSettings((32, 32), 4, streams=("labelled", "unlabelled"))
    crops = crops_of(Source(Squares(["square"])), Source(Squares(["square"], "bare", "none")), settings=settings)
    batch = next(iter(crop_loader(crops, workers=0)))
    assert batch["labelled"].tolist() == [True, False, True, False]
    assert batch["valid"].flatten(1).sum(1)[1::2].tolist() == [0, 0]
    assert batch["labels"][1::2].sum() == 0


def test_a_stream_without_images_is_refused() -> None:
    with pytest.raises(TrainingError, match="no unlabelled image in squares"):
        crops_of(Source(Squares(["square"])), settings=CropSettings(streams=("unlabelled",)))
    with pytest.raises(TrainingError, match="no labelled image in bare"):
        crops_of(Source(Squares(["square"], "bare", "none")))


def test_the_network_sees_the_image_enlarged() -> None:
    config = FamilyConfig(input_scale=1.5)
    settings = CropSettings((128, 128), 1, cell_bias=1.0)
    crops = crops_of(
        Source(Squares(["square"]), scale=1.2), config=config, augmentation=Augmentation.none(), settings=settings
    )
    assert int((crops[0]["labels"] > 0).sum()) == pytest.approx((20 * 1.5 * 1.2) ** 2, rel=0.06)


def test_images_are_read_once_while_they_fit() -> None:
    dataset = Squares(["square", "square"])
    crops = crops_of(Source(dataset))
    for index in range(20):
        crops[index]
    assert dataset.reads == 2


def test_memory_is_bounded_and_the_last_used_stay() -> None:
    crops = crops_of(Source(Squares(["square"] * 5)))
    pictures = [crops.picture((0, index)) for index in range(5)]
    cache = PictureCache(pictures[0].nbytes * 3)
    read: list[int] = []
    for key in (0, 1, 2, 0, 3, 0, 1):
        cache.get((0, key), lambda key=key: read.append(key) or pictures[key])  # type: ignore[misc]
        assert cache.held <= cache.capacity
        assert len(cache) <= 3
    assert read == [0, 1, 2, 3, 1]


def test_a_picture_beyond_the_memory_is_still_given() -> None:
    crops = crops_of(Source(Squares(["square"])))
    assert len(PictureCache(1).get((0, 0), lambda: crops.picture((0, 0))).like) == 1


def test_classes_are_matched_by_name() -> None:
    masks = [np.ones((2, 2), bool)] * 4
    instances = Instances.from_masks(masks, classes=np.array([0, 1, 2, -1]), class_names=("cort", "astro", "other"))
    assert with_classes(instances, ("astro", "cort")).classes.tolist() == [1, 0, -1, -1]
    assert with_classes(instances, ("cell",)).classes.tolist() == [0, 0, 0, 0]


def test_targets_of_instances_stand_one_after_the_other_in_a_batch() -> None:
    def box_targets(instances: Instances, config: Any) -> dict[str, AnyArray]:
        return {"instance.boxes": instances.boxes.astype(np.float32)}

    crops = Crops(
        [Source(Squares(["square"])), Source(Squares(["square"], "bare", "none"))],
        box_targets,
        FamilyConfig(),
        settings=CropSettings(size=(32, 32), batch=4, streams=("labelled", "unlabelled"), cell_bias=1.0),
    )
    batch = next(iter(crop_loader(crops, workers=0)))
    single = [crops[index]["instance.boxes"] for index in range(4)]
    assert batch["instances"].tolist() == [len(boxes) for boxes in single] == [1, 0, 1, 0]
    assert torch.equal(batch["instance.boxes"], torch.cat(single))
    assert batch["image"].shape == (4, 1, 32, 32)


@pytest.mark.parametrize(("cell_size", "expected"), [(30, 1.5), (16, 0.8), (200, 5 / 3)])
def test_cells_are_brought_to_the_size_that_the_network_is_made_for(cell_size: float, expected: float) -> None:
    config = FamilyConfig(cell_size=cell_size)
    same = {"cell_bias": 1.0, "sized_scale": (1.0, 1.0)}
    augmentation = Augmentation.none().model_copy(update={"scale": (0.2, 0.2)})
    crops = crops_of(
        Source(Squares(["square"])),
        config=config,
        augmentation=augmentation,
        settings=CropSettings((160, 160), 1, sized=1.0, **same),
    )
    area = int((crops[0]["labels"] > 0).sum())
    assert area == pytest.approx((20 * expected) ** 2, rel=0.05)
    never = crops_of(Source(Squares(["square"])), config=config, augmentation=augmentation, settings=SMALL)
    assert int((never[0]["labels"] > 0).sum()) == pytest.approx((20 * 0.2) ** 2, rel=0.3)
