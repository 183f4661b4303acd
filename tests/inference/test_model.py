"""The model object on a small real network whose right answers are known."""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import FrozenInstanceError, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from cytotome.contract import Family
from cytotome.errors import ConfigError, CytotomeError, DataError, ImageError, ModelError
from cytotome.inference.device import takes_bfloat16
from cytotome.inference.model import Model, build_model, load_single_model
from cytotome.inference.passes import Pass, Prediction
from cytotome.inference.scale import CellScale
from cytotome.inference.segmenter import ImageJob
from cytotome.inference.stream import through
from cytotome.models.file import save_model
from cytotome.outputs import Detections
from cytotome.types import AnyArray, FloatArray, Image, Instances

MakeModel = Callable[..., Model]
Discs = Callable[[tuple[int, int], int, int], tuple[FloatArray, AnyArray]]


def assert_finds(cells: Instances, labels: AnyArray, least: float = 0.8) -> None:
    """Each true disc has one cell with an IoU of at least ``least``, and there is no other."""
    found = cells.to_label_map()
    assert found.shape == labels.shape
    assert len(cells) == labels.max()
    for label in range(1, int(labels.max()) + 1):
        (over,) = set(np.unique(found[labels == label]).tolist()) - {0}
        shared = np.sum((labels == label) & (found == over))
        assert shared / np.sum((labels == label) | (found == over)) >= least


def assert_same(first: Instances, second: Instances) -> None:
    np.testing.assert_array_equal(first.runs, second.runs)
    np.testing.assert_array_equal(first.offsets, second.offsets)
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)


@pytest.mark.parametrize("shape", [(96, 128), (75, 111), (60, 301)])
@pytest.mark.parametrize("settings", [{}, {"input_scale": 1.5}, {"input_scale": 2.0, "output_stride": 2}])
def test_discs_are_found(
    make_model: MakeModel, discs: Discs, shape: tuple[int, int], settings: dict[str, float]
) -> None:
    image, labels = discs(shape, 8, 0)
    cells = make_model(**settings).segment(image)
    assert_finds(cells, labels)
    assert cells.class_names == ("cell",)


def test_every_kind_of_input_gives_the_same(make_model: MakeModel, discs: Discs, tmp_path: Path) -> None:
    model = make_model()
    pixels = (discs((64, 80), 4, 1)[0] * 200).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "discs.png"), pixels)
    expected = model.segment(Image(pixels))
    same = [pixels, pixels.astype(np.uint16), pixels.astype(np.int64), pixels.astype(float), tmp_path / "discs.png"]
    for source in [*same, str(tmp_path / "discs.png"), np.repeat(pixels[:, :, None], 3, 2)]:
        assert_same(model.segment(source), expected)
    for cells in model.segment(same):
        assert_same(cells, expected)
    assert len(model.segment(pixels > 100)) == len(expected)
    assert model.segment([]) == []


def test_an_array_that_is_no_image(make_model: MakeModel) -> None:
    with pytest.raises(ImageError, match="every pixel has the value 7"):
        make_model().segment(np.full((20, 20), 7, np.uint8))


def test_maps_then_decoding_is_segmenting(make_model: MakeModel, discs: Discs) -> None:
    model = make_model(input_scale=1.5)
    image, _ = discs((70, 90), 5, 2)
    maps = model.predict_maps(image)
    assert {name: (values.shape, values.dtype) for name, values in maps.items()} == {
        "bright": ((1, 70, 90), np.dtype(np.float32)),
        "slope": ((2, 70, 90), np.dtype(np.float32)),
    }
    assert_same(model.decode(maps), model.segment(image))
    assert_same(model.decode(maps, threshold=0.3), model.segment(image, threshold=0.3))
    assert model.decode(maps, threshold=0.3).areas.sum() > model.decode(maps).areas.sum()


def test_symmetries_and_tiles_change_nothing_on_an_equivariant_network(make_model: MakeModel, discs: Discs) -> None:
    model = make_model(input_scale=1.5)
    image, labels = discs((200, 260), 20, 3)
    plain = model.predict_maps(image)
    for options in ({"tta": True}, {"tile": 128}, {"tta": True, "tile": 128}):
        maps = model.predict_maps(image, **options)
        for name in plain:
            np.testing.assert_allclose(maps[name], plain[name], atol=1e-5)
        assert_finds(model.segment(image, **options), labels)


def test_each_tile_is_told_of_and_can_end_the_image(make_model: MakeModel, discs: Discs) -> None:
    model, told = make_model(), []
    image = discs((200, 260), 20, 3)[0]
    model.segment(image, watch=lambda *numbers: told.append(numbers))
    assert told == []
    model.segment(image, tile=128, watch=lambda *numbers: told.append(numbers))
    assert told == [(done, 6) for done in range(1, 7)]

    def stop(done: int, total: int) -> None:
        raise ImageError("stopped")

    with pytest.raises(ImageError, match="stopped"):
        model.segment(image, tile=128, watch=stop)


def test_bfloat16_gives_the_same_cells(make_model: MakeModel, discs: Discs) -> None:
    if not takes_bfloat16(torch.device("cpu")):
        with pytest.raises(ConfigError, match="cpu does not support bfloat16 on this machine; choose auto or float32"):
            make_model("bfloat16")
        return
    image, labels = discs((96, 96), 6, 4)
    assert_finds(make_model("bfloat16").segment(image), labels)


def test_a_stream_keeps_the_order_whatever_the_sizes(make_model: MakeModel, discs: Discs) -> None:
    model = make_model()
    shapes = [(40 + 8 * (index % 3), 64) for index in range(9)]
    drawn = [discs(shape, 1 + index % 3, index) for index, shape in enumerate(shapes)]
    for cells, (_, labels) in zip(model.segment_many(image for image, _ in drawn), drawn, strict=True):
        assert_finds(cells, labels)


def test_a_batch_of_several_sizes_and_errors_keeps_its_order(
    make_model: MakeModel, gradient_family: Family, discs: Discs
) -> None:
    """As an accelerator gets it; images of one size go through the network together, and an error costs its own."""
    seen: list[tuple[int, ...]] = []

    def predict(net: nn.Module, images: torch.Tensor) -> Any:
        seen.append(tuple(images.shape))
        if images.mean(dim=(1, 2, 3)).max() > 0.5:
            raise RuntimeError("too bright")
        return gradient_family.predict(net, images)

    family = replace(gradient_family, predict=predict)
    model = build_model(make_model().file, family=family, device="cpu", precision="float32")
    shapes = [(40, 64), (40, 64), (48, 64), (40, 64)]
    drawn = [discs(shape, 2, index) for index, shape in enumerate(shapes)]
    find = model.finder(Pass())

    def predictions(images: Sequence[Image]) -> list[Prediction]:
        return model._predictions(images, find, CellScale())

    jobs = [ImageJob(image) for image, _ in drawn]
    for outcome, (_, labels) in zip(through(jobs, predictions, cells_of), drawn, strict=True):
        assert_finds(outcome.result(), labels)
    assert seen == [(2, 1, 40, 64), (1, 1, 48, 64), (1, 1, 40, 64)]
    jobs.insert(1, ImageJob(np.zeros((40, 64), np.uint8)))
    outcomes = through([*jobs, ImageJob(1 - drawn[0][0])], predictions, cells_of)
    with pytest.raises(RuntimeError, match="too bright"):
        outcomes.pop().result()
    assert isinstance(outcomes.pop(1).value, ImageError)
    for outcome, (_, labels) in zip(outcomes, drawn, strict=True):
        assert_finds(outcome.result(), labels)


def cells_of(job: ImageJob, found: Prediction) -> Instances:
    return found.instances


def test_jobs_come_back_with_what_they_carry_and_their_outputs(make_model: MakeModel, discs: Discs) -> None:
    @dataclass
    class Numbered:
        number: int
        shape: tuple[int, int]

        def read(self) -> Image:
            if self.number == 2:
                raise OSError("gone")
            return Image(discs(self.shape, 3, self.number)[0])

    model = make_model()

    def then(job: Numbered, found: Prediction) -> int:
        assert {name: values.shape[1:] for name, values in found.outputs.items()} == dict.fromkeys(
            ("bright", "slope"), job.shape
        )
        assert_same(model.decode(found.outputs), found.instances)
        for name, values in model.predict_maps(found.image).items():
            np.testing.assert_array_equal(found.outputs[name], values)
        return len(found.instances)

    jobs = [Numbered(number, (40 + 8 * number, 64)) for number in range(5)]
    counts = [int(discs(job.shape, 3, job.number)[1].max()) for job in jobs if job.number != 2]
    outcomes = list(model.segment_stream(iter(jobs), then, keep_outputs=True))
    assert [one.job for one in outcomes] == jobs
    assert isinstance(outcomes.pop(2).value, OSError)
    assert [one.result() for one in outcomes] == counts
    assert model.predict(discs((40, 64), 3, 1)[0]).outputs is None


def test_outputs_are_kept_at_the_size_of_the_image(make_model: MakeModel, discs: Discs) -> None:
    large = cv2.resize(discs((96, 128), 4, 9)[0], (384, 288), interpolation=cv2.INTER_CUBIC)
    model = make_model()
    found = model.predict(large, scale=1 / 3, keep_outputs=True)
    for name, values in model.predict_maps(large, scale=1 / 3).items():
        np.testing.assert_array_equal(found.outputs[name], values)
    assert_same(found.instances, model.segment(large, scale=1 / 3))


def test_a_model_is_pickled_and_shown(make_model: MakeModel, discs: Discs, tmp_path: Path) -> None:
    bundled = load_single_model("nuclei", device="cpu", precision="float32")
    assert repr(bundled) == "Model('nuclei', flow, cpu, float32)"
    back = pickle.loads(pickle.dumps(bundled))
    image = discs((70, 90), 5, 2)[0]
    assert (back.digest, back.device, back.precision) == (bundled.digest, bundled.device, bundled.precision)
    assert_same(back.segment(image), bundled.segment(image))
    with pytest.raises(FrozenInstanceError):
        bundled.file = back.file  # type: ignore[misc]


def test_an_error_stands_in_its_images_place(make_model: MakeModel, discs: Discs, tmp_path: Path) -> None:
    good, _ = discs((40, 64), 2, 5)
    (tmp_path / "bad.png").write_bytes(b"no image")
    sources = [good, tmp_path / "bad.png", np.zeros((9, 9), np.uint8), good]

    def then(image: Image, cells: Instances) -> int:
        if image.source != "image":
            raise DataError("never reached")
        return len(cells)

    outcomes = list(make_model().process_many(sources, then))
    assert [outcomes[0], outcomes[3]] == [2, 2]
    assert all(isinstance(outcome, ImageError) for outcome in outcomes[1:3])
    stream = make_model().segment_many(sources)
    assert len(next(stream)) == 2
    with pytest.raises(ImageError, match=r"bad\.png"):
        next(stream)


def test_an_error_of_the_last_step_stands_there_too(make_model: MakeModel, discs: Discs) -> None:
    def then(image: Image, cells: Instances) -> int:
        raise DataError(f"{len(cells)} cells are too many")

    (outcome,) = make_model().process_many([discs((40, 64), 2, 5)[0]], then)
    assert isinstance(outcome, CytotomeError)
    assert str(outcome) == "2 cells are too many"


def test_memory_does_not_grow_with_the_number_of_images(make_model: MakeModel, discs: Discs) -> None:
    pixels, _ = discs((40, 64), 2, 6)
    held: list[weakref.ref[AnyArray]] = []

    def draw() -> Iterator[Image]:
        for _ in range(60):
            image = Image(pixels.astype(np.float32))
            held.append(weakref.ref(image.pixels))
            yield image
            del image

    most = 0
    for _ in make_model().process_many(draw(), lambda _, cells: len(cells), workers=2):
        most = max(most, sum(reference() is not None for reference in held))
    assert len(held) == 60
    assert most <= 8


def test_a_stream_gives_the_threads_back(make_model: MakeModel, discs: Discs) -> None:
    image, _ = discs((40, 64), 2, 7)
    before = torch.get_num_threads()
    assert len(list(make_model().segment_many([image] * 5))) == 5
    assert torch.get_num_threads() == before


def test_parameters_are_checked_all_at_once(make_model: MakeModel, discs: Discs) -> None:
    image, _ = discs((40, 64), 2, 8)
    with pytest.raises(
        ConfigError, match=r"min_area: .*; warp: .*; there are min_score, min_area, by_class, threshold"
    ):
        make_model().segment(image, min_area="many", warp=9)
    with pytest.raises(ConfigError, match="warp"):
        make_model().segment_many([image], warp=9)


def test_what_the_caller_sets_comes_before_what_was_calibrated_for_a_class(make_model: MakeModel) -> None:
    model = make_model()
    calibrated = type(model.parameters)(min_area=9, by_class={"cell": {"threshold": 0.9, "min_area": 20}})
    model = replace(model, file=replace(model.file, parameters=calibrated))
    assert model.override() == calibrated
    chosen = model.override(min_area=3)
    assert (chosen.min_area, chosen.by_class) == (3, {"cell": {"threshold": 0.9}})


def test_weights_of_another_network(make_model: MakeModel, gradient_family: Family) -> None:
    file = make_model().file
    for weights in ({}, {**file.weights, "extra": torch.ones(1)}, {**file.weights, "difference.weight": torch.ones(1)}):
        with pytest.raises(ModelError, match="the weights do not fit the gradient network"):
            build_model(replace(file, weights=weights), family=gradient_family)


def test_loading_leaves_the_random_numbers_alone(make_model: MakeModel, gradient_family: Family) -> None:
    file = make_model().file
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build_model(file, family=gradient_family)
    assert torch.equal(torch.rand(1), expected)


def test_a_network_that_predicts_instances_itself(make_model: MakeModel, gradient_family: Family, discs: Discs) -> None:
    image, labels = discs((50, 70), 3, 9)

    def predict(net: nn.Module, images: torch.Tensor) -> list[Instances]:
        found = []
        for canvas in images.float().numpy():
            _, components = cv2.connectedComponents((canvas[0] > 0.5).astype(np.uint8))
            found.append(Instances.from_label_map(components))
        return found

    def decode(found: Instances, parameters: Any, class_names: Sequence[str]) -> Instances:
        return found.select(found.areas >= parameters.min_area)

    family = replace(gradient_family, outputs=lambda config: Detections(), predict=predict, decode=decode)
    model = build_model(make_model(input_scale=1.5).file, family=family, device="cpu", precision="float32")
    assert_finds(model.segment(image), labels)
    assert len(model.segment(image, min_area=500)) == 0
    assert len(model.decode(model.outputs(image), min_area=500)) == 0
    assert len(model.outputs(image)) == 3
    with pytest.raises(ConfigError, match="predicts instances without maps"):
        model.predict_maps(image)
    assert_finds(model.segment(image, tta=True), labels)


@pytest.mark.parametrize(("cell_size", "widths"), [(None, [128]), (16, [128, 192]), (4, [128, 80]), (160, [128, 220])])
def test_cells_are_brought_to_one_size(
    make_model: MakeModel, gradient_family: Family, discs: Discs, cell_size: float | None, widths: list[int]
) -> None:
    """Discs of a side of 11 pixels: the second pass sees them enlarged to suit, within a factor of 5/3."""
    image, labels = discs((96, 128), 4, 9)
    seen: list[int] = []

    def predict(net: nn.Module, images: torch.Tensor) -> Any:
        seen.append(images.shape[-1])
        return gradient_family.predict(net, images)

    file = make_model(cell_size=cell_size).file
    model = build_model(file, family=replace(gradient_family, predict=predict), device="cpu", precision="float32")
    assert_finds(model.segment(image), labels)
    assert seen == widths


def test_a_saved_model_is_loaded_by_its_path(tmp_path: Path, discs: Discs) -> None:
    from cytotome.data.normalise import Normalisation
    from cytotome.families.flow import FAMILY
    from cytotome.families.flow.config import FlowConfig, FlowParameters
    from cytotome.models.file import ModelFile

    config = FlowConfig(widths=(4, 8), blocks=(1, 1), class_names=("a", "b"))
    weights = FAMILY.build(config).state_dict()
    file = ModelFile("flow", config, FlowParameters(), Normalisation(), weights)
    digest = save_model(tmp_path / "m.safetensors", file)
    model = load_single_model(tmp_path / "m.safetensors", device="cpu", precision="float32")
    assert model.digest == digest
    maps = model.predict_maps(discs((50, 70), 3, 9)[0])
    assert {name: values.shape for name, values in maps.items()} == {
        "flow": (2, 50, 70),
        "cell": (1, 50, 70),
        "cell_type": (2, 50, 70),
    }
    np.testing.assert_allclose(maps["cell_type"].sum(axis=0), 1, rtol=1e-4)


def test_an_unknown_name() -> None:
    with pytest.raises(ModelError, match="unicorns: neither a model file"):
        load_single_model("unicorns")


@pytest.mark.parametrize("options", [{}, {"tta": True}])
def test_real_images_from_their_files(real_data: Path, make_model: MakeModel, options: dict[str, bool]) -> None:
    paths = sorted((real_data / "sartorius" / "train").glob("*.png"))[:2]
    for cells, path in zip(make_model().segment(paths, **options), paths, strict=True):
        assert cells.shape == cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).shape
        assert (cells.areas >= 15).all()


def test_cells_of_a_resized_image_come_in_its_own_pixels(make_model: MakeModel, discs: Discs) -> None:
    image, labels = discs((96, 128), 4, 9)
    model = make_model()
    large = cv2.resize(image, (384, 288), interpolation=cv2.INTER_CUBIC)
    cells = model.segment(large, scale=1 / 3)
    assert cells.shape == (288, 384)
    assert len(cells) == labels.max()
    np.testing.assert_allclose(sorted(cells.areas), sorted(9 * model.segment(image).areas), rtol=0.1)
    assert model.predict_maps(large, scale=1 / 3)["bright"].shape == (1, 288, 384)


def test_a_model_that_knows_its_pixels_takes_an_image_at_their_size(make_model: MakeModel, discs: Discs) -> None:
    from cytotome.models.card import Card
    from cytotome.models.cell_size import CellSize, CellSizes

    image, labels = discs((96, 128), 4, 9)
    sizes = CellSizes(types={"cell": CellSize(diameter=12, least=10, greatest=14)}, microns_per_pixel=1.0)
    model = build_model(
        replace(make_model().file, card=Card(cell_sizes=sizes)), family=make_model().family, device="cpu"
    )
    large = Image(cv2.resize(image, (256, 192)), microns_per_pixel=0.5)
    np.testing.assert_array_equal(model.segment(large).runs, model.segment(large, scale=0.5).runs)
    assert len(model.segment(large)) == labels.max()


@pytest.mark.parametrize("name", ["nuclei", "neurons", "neurons-rcnn"])
@pytest.mark.parametrize("sigma", [0, 3])
def test_bundled_models_find_nothing_in_noise(name: str, sigma: int) -> None:
    noise = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma)) if sigma else noise
    assert len(load_single_model(name).segment((100 + 20 * noise / noise.std()).clip(0, 255).astype(np.uint8))) == 0


def test_nuclei_are_found_in_a_sparse_field_as_in_its_crop() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((1024, 1024), np.int32)
    for number, (x, y) in enumerate(((460, 450), (560, 470), (470, 570), (570, 560)), start=1):
        cv2.circle(labels, (x, y), 10, number, -1)
    grey = cv2.GaussianBlur(np.float32(80) * (labels > 0), (0, 0), 1.5) + rng.normal(20, 3, labels.shape)
    field, part = grey.clip(0, 255).astype(np.uint8), np.s_[384:640, 384:640]
    model = load_single_model("nuclei")
    assert_finds(model.segment(field), labels, least=0.7)
    assert_finds(model.segment(np.ascontiguousarray(field[part])), labels[part], least=0.7)
