"""Ensembles of the bundled models: a file that is opened like any model, and fusions that must change nothing."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cytotome.app.cli import app
from cytotome.datasets import open_dataset
from cytotome.ensemble.calibration import ScoreCurve
from cytotome.ensemble.cell_type import fit_type_classifier
from cytotome.ensemble.ensemble import Ensemble, fuse_members
from cytotome.ensemble.file import EnsembleFile, Member, read_ensemble, save_ensemble
from cytotome.ensemble.instances import InstanceFusion
from cytotome.ensemble.load import load_model
from cytotome.errors import ConfigError, ImageError, ModelError
from cytotome.inference.model import Model
from cytotome.inference.passes import Pass
from cytotome.io.images import read_image
from cytotome.models.card import Card
from cytotome.models.registry import bundled_ensembles, bundled_models
from cytotome.ops.labels import resolve_overlaps
from cytotome.outputs.tta import Tta
from cytotome.types import AnyArray, Image, Sample, SampleInfo

from .conftest import same


@pytest.mark.parametrize("name", sorted(bundled_ensembles()))
def test_bundled_ensembles_open_by_name(name: str) -> None:
    ensemble = load_model(name, device="cpu")
    assert isinstance(ensemble, Ensemble)
    assert len(ensemble.models) > 1
    assert ensemble.card.name == name
    assert name in CliRunner().invoke(app, ["models", "list"]).output
    assert "member" in CliRunner().invoke(app, ["models", "show", name]).output


@pytest.fixture(scope="module")
def neurons() -> Model:
    if "neurons" not in bundled_models():
        pytest.skip("no model is bundled")
    model = load_model("neurons", device="cpu")
    assert isinstance(model, Model)
    return model


@pytest.fixture(scope="module")
def picture() -> AnyArray:
    pixels = open_dataset("synthetic:1")[0].image.pixels[:256, :256]
    return np.ascontiguousarray(pixels)


def ensemble(model: Model, *members: Member, **fields: object) -> Ensemble:
    return Ensemble(EnsembleFile(members=members, **fields), [model] * len(members))  # type: ignore[arg-type]


A = Member(model="neurons")


def test_one_model_or_the_same_twice_gives_what_the_model_gives(neurons: Model, picture: AnyArray) -> None:
    alone = neurons.segment(picture)
    assert len(alone) > 3
    for members in ((A,), (A, A)):
        assert same(ensemble(neurons, *members).segment(picture), alone)
    grouped = A.model_copy(update={"group": "g"})
    assert same(ensemble(neurons, grouped, grouped).segment(picture), alone)


def test_curves_weights_parameters_and_steps_are_used(neurons: Model, picture: AnyArray) -> None:
    curve = ScoreCurve(scores=(0.0, 1.0), precisions=(0.0, 0.5))
    halved = ensemble(neurons, A.model_copy(update={"curve": curve})).segment(picture)
    alone = neurons.segment(picture)
    np.testing.assert_allclose(halved.scores, np.sort(alone.scores)[::-1] / 2, rtol=1e-5)
    strict = ensemble(neurons, A.model_copy(update={"parameters": {"min_area": 200}})).segment(picture)
    assert same(strict, neurons.segment(picture, min_area=200))
    assert same(ensemble(neurons, A).segment(picture, min_area=200), alone.select(alone.areas >= 200))
    resolved = ensemble(neurons, A, steps=({"overlaps": {"policy": "score"}},)).segment(picture)
    assert same(resolved, resolve_overlaps(alone, "score"))


def test_views_of_a_member_come_before_those_of_the_call(neurons: Model, picture: AnyArray) -> None:
    twice = A.model_copy(update={"tta": True})
    expected = neurons.segment(picture, tta=Tta())
    assert same(ensemble(neurons, twice).segment(picture), expected)
    assert same(ensemble(neurons, A).segment(picture, tta=True), expected)
    assert not same(expected, neurons.segment(picture))


def test_parameters_follow_the_cell_type_of_the_image(neurons: Model, picture: AnyArray) -> None:
    plain = ensemble(neurons, A)
    found = plain.segment(picture)
    votes = np.bincount(found.classes, found.scores, len(found.class_names))
    kind = found.class_names[int(votes.argmax())]
    other = next(name for name in found.class_names if name != kind)
    assert same(plain.segment(picture), ensemble(neurons, A, by_class={other: {"min_area": 10**6}}).segment(picture))
    assert len(ensemble(neurons, A, by_class={kind: {"min_area": 10**6}}).segment(picture)) == 0
    fewer = replace(found, classes=np.full(len(found), -1, np.int32))
    classifier = fit_type_classifier([found, fewer.select([0])], [kind, other])
    told = EnsembleFile(members=(A,), by_class={kind: {"min_area": 10**6}}, cell_type=classifier)
    assert len(fuse_members([found], told)) == 0
    assert len(fuse_members([fewer.select([0])], told)) == 1


def test_a_file_comes_back_and_its_models_are_found_beside_it(
    neurons: Model, picture: AnyArray, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    shutil.copy(bundled_models()["neurons"], tmp_path / "models" / "mine.safetensors")
    file = EnsembleFile(
        members=(
            Member(model="models/mine.safetensors", digest=neurons.digest, weight=2.0, tta={"scales": [0.8]}),
            Member(model="neurons", curve=ScoreCurve(scores=(0.1, 0.9), precisions=(0.2, 0.8))),
        ),
        fusion=InstanceFusion(threshold=0.4, min_score=0.1),
        by_class={"cort": {"min_area": 40}},
        steps=("fill_holes", {"smooth": {"sigma": 1.0}}),
    )
    save_ensemble(tmp_path / "both.yaml", file)
    assert read_ensemble(tmp_path / "both.yaml") == file
    opened = load_model(tmp_path / "both.yaml", device="cpu")
    assert opened.method == "ensemble of flow, flow"
    expected = Ensemble(file, [neurons, neurons])
    assert opened.digest == expected.digest
    assert same(opened.segment(picture), expected.segment(picture))
    assert opened.digest != Ensemble(file.model_copy(update={"steps": ()}), [neurons, neurons]).digest


def test_streams_hold_errors_in_their_place(neurons: Model, picture: AnyArray) -> None:
    both = ensemble(neurons, A, A)
    bad = np.zeros((4, 4, 4, 4), np.uint8)
    counts = list(both.process_many([picture, bad, picture], lambda image, cells: len(cells)))
    assert counts[0] == counts[2] == len(neurons.segment(picture))
    assert isinstance(counts[1], ImageError)
    assert len(both.segment([picture, picture])) == 2
    with pytest.raises(ImageError):
        list(both.segment_many([bad]))


def test_members_see_images_of_one_size_together(neurons: Model, picture: AnyArray) -> None:
    """As on an accelerator, where a lane has several images at hand."""
    both = ensemble(neurons, A, A.model_copy(update={"tta": True}))
    images = [Image(picture), Image(np.ascontiguousarray(picture[:128])), Image(picture[::-1].copy())]
    find = both.finder(Pass())
    together = find(images, [image.shape for image in images])
    for image, found in zip(images, together, strict=True):
        expected = both.segment(image)
        assert len(found.instances) == len(expected)
        np.testing.assert_allclose(found.instances.scores, expected.scores, atol=0.01)


def test_an_ensemble_is_pickled_and_shown(neurons: Model, picture: AnyArray) -> None:
    both = ensemble(neurons, A, A, card=Card(name="both"))
    precision = str(neurons.precision).removeprefix("torch.")
    assert repr(both) == f"Ensemble('both', flow + flow, cpu, {precision})"
    back = pickle.loads(pickle.dumps(both))
    assert back.digest == both.digest
    assert same(back.segment(picture), both.segment(picture))


def test_the_command_line_takes_an_ensemble_like_any_model(neurons: Model, picture: AnyArray, tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), picture)
    save_ensemble(tmp_path / "e.yaml", EnsembleFile(members=(A, A)))
    arguments = ["segment", str(tmp_path / "a.png"), "-m", str(tmp_path / "e.yaml"), "--device", "cpu", "-o"]
    outcome = CliRunner().invoke(app, [*arguments, str(tmp_path / "out")])
    assert outcome.exit_code == 0, outcome.output
    expected = len(neurons.segment(read_image(tmp_path / "a.png")))
    assert f"1 of 1 images segmented; {expected} cells" in outcome.output
    shown = CliRunner().invoke(app, ["models", "show", str(tmp_path / "e.yaml")])
    assert shown.output.count("member    neurons") == 2


def test_faults_are_named(neurons: Model, tmp_path: Path) -> None:
    def written(text: str) -> Path:
        (tmp_path / "bad.yaml").write_text(text)
        return tmp_path / "bad.yaml"

    with pytest.raises(ModelError, match="cannot be read"):
        load_model(tmp_path / "none.yaml")
    with pytest.raises(ModelError, match="not a YAML file"):
        load_model(written("a: [1"))
    with pytest.raises(ModelError, match="must contain members"):
        load_model(written("[]"))
    with pytest.raises(ModelError, match="written in ensemble format 9"):
        load_model(written("format: 9"))
    with pytest.raises(ModelError, match=r"members.0.weight.*; fusion.treshold"):
        load_model(written("members: [{model: neurons, weight: 0}]\nfusion: {treshold: 0.5}"))
    with pytest.raises(ModelError, match="there is no step 'polish'"):
        load_model(written("members: [{model: neurons}]\nsteps: [polish]"))
    with pytest.raises(ModelError, match=r"scales and gains must be from 0.25 to 4"):
        load_model(written("members: [{model: neurons, tta: {scales: [9]}}]"))
    with pytest.raises(ModelError, match="restore that model"):
        load_model(written("members: [{model: neurons, digest: abc}]"), device="cpu")
    with pytest.raises(ModelError, match="neither a model file"):
        load_model(written("members: [{model: nowhere.safetensors}]"), device="cpu")
    with pytest.raises(ConfigError, match="expected 1 models, one per member, got 2"):
        Ensemble(EnsembleFile(members=(A,)), [neurons, neurons])
    with pytest.raises(ConfigError, match=r"fusion parameters: .*; there are method"):
        ensemble(neurons, A).override(nonsense=1)


def test_an_ensemble_takes_what_a_model_takes(neurons: Model, picture: AnyArray) -> None:
    one = ensemble(neurons, A)
    sample = Sample(SampleInfo("a"), Image(picture))
    expected = one.segment(picture)
    assert all(same(cells, expected) for cells in one.segment(image for image in (sample, picture)))
    with pytest.raises(ImageError, match=r"expected several, got the path 'a\.tif'"):
        next(one.segment_many("a.tif"))


def test_types_are_unknown_where_half_of_the_models_doubt_them(neurons: Model, picture: AnyArray) -> None:
    known = neurons.card.cell_types
    assert known is not None

    def limited(limit: float) -> Model:
        types = known.model_copy(update={"limit": limit})
        return replace(neurons, file=replace(neurons.file, card=neurons.card.model_copy(update={"cell_types": types})))

    members = (Member(model="a"), Member(model="b"))

    def classes(*limits: float) -> set[int]:
        made = Ensemble(EnsembleFile(members=members[: len(limits)]), [limited(limit) for limit in limits])
        return set(made.segment(picture).classes.tolist())

    assert classes(1e9, 1e9) == classes(1e9) != {-1}
    assert classes(1e9, 1e-9) == classes(1e-9, 1e-9) == classes(1e-9) == {-1}
