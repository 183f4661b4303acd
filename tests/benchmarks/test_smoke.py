"""Each benchmark runs with tiny inputs and gives what it promises; none of them uses what is private."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cytotome.datasets import open_dataset
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.families.embedding.targets import oracle_embeddings
from cytotome.ops.flows import flow_field

REPOSITORY = Path(__file__).resolve().parents[2]
BENCHMARKS = REPOSITORY / "benchmarks"
SCRIPTS = sorted([*BENCHMARKS.glob("*.py"), *(BENCHMARKS / "peers").glob("*.py"), *(REPOSITORY / "docs").glob("*.py")])
TINY_FLOW = (
    *("config.widths=[8, 16, 16]", "config.blocks=[0, 1, 1]", "config.input_scale=1", "calibration_images=2"),
    *("sampling.crop=[64, 64]", "sampling.batch=2", "sampling.workers=0", "schedule.steps=2", "schedule.ema=0.5"),
)
"""Changes of the recipe ``flow`` that make its training take a moment."""
TINY_GAN = (
    *("config.hidden_size=16", "config.mlp_size=32", "config.heads=2", "calibration_images=0"),
    *("sampling.workers=0", "sampling.batch=2", "schedule.pictures_every=1"),
)

Run = Callable[..., str]
Load = Callable[[str], ModuleType]


def sets(changes: tuple[str, ...]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def private_names(source: str) -> list[str]:
    """Names that begin with one underscore, of other objects than ``self``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            found.append(node.attr)
        if isinstance(node, ast.ImportFrom):
            found += [part for name in node.names for part in (*(node.module or "").split("."), name.name)]
    return [name for name in found if re.match(r"_[^_]", name)]


def test_private_names_are_noticed() -> None:
    source = "from a._b import c, __d__\nself._own(model._run(one.planes))\n"
    assert set(private_names(source)) == {"_b", "_run"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_use_public_names_alone(path: Path) -> None:
    assert private_names(path.read_text(encoding="utf-8")) == []


def test_alignment(run: Run, data: Path) -> None:
    said = run("alignment", data / "sartorius", "--model", "neurons", "--model-fold", 0)
    offsets = [float(number) for number in re.findall(r"([+-][\d.]+) (?:down|right)", said)]
    assert len(offsets) in (2, 4, 6)  # of the cell types of which cells are found
    assert max(map(abs, offsets)) < 3


def test_cell_size(run: Run, data: Path) -> None:
    answer = json.loads(run("cell_size", "neurons", data / "sartorius", "--fold", 0, "--sizes", 1))
    cells = {row["images"]: row["cells"] for row in answer["rows"]}
    dataset = open_dataset(data / "sartorius")
    for index, info in enumerate(dataset.infos[:3]):
        assert cells[f"sartorius {info.cell_type}"] == len(dataset.instances(index))
    assert max(row["F1 as it is"] for row in answer["rows"]) > 0.5


def test_cell_types(run: Run, data: Path) -> None:
    answer = json.loads(run("cell_types", data, "--model", "neurons"))
    images = {name: sum(counts.values()) for name, counts in answer["called"].items()}
    assert images == {
        "cort (sartorius)": 1,
        "astro (sartorius)": 1,
        "shsy5y (sartorius)": 1,
        "A172 (livecell)": 1,
        "T98G (usiigaci)": 2,
    }


def test_coco(run: Run, data: Path, tmp_path: Path) -> None:
    run("coco", data / "sartorius", "flow=neurons:0")
    rows = json.loads((tmp_path / "coco.json").read_text())["flow"]
    assert {row["images"] for row in rows} == {"cort", "astro", "shsy5y", "all"}
    assert all(0 <= row["ap"] <= row["ap50"] <= 1 for row in rows)
    assert f"| flow | all | 1000 | {rows[-1]['ap']:.3f} |" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_accuracy(run: Run, data: Path, tmp_path: Path) -> None:
    model = ("--model", "neurons:0", "--no-fit")
    (tmp_path / "accuracy").mkdir()
    run("accuracy", data / "sartorius", "--name", "smoke", "--training", "none", *model)
    entry = json.loads((tmp_path / "accuracy" / "smoke.json").read_text())
    scores = entry["scores"]["own parameters"]
    assert scores["images"] == 3
    assert scores["all"] == pytest.approx(np.mean([scores[kind] for kind in ("cort", "astro", "shsy5y")]))
    assert "| smoke | none | 0 | 3 | own parameters |" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_accuracy_writes_rows_by_number_of_images_and_ceilings(run: Run, tmp_path: Path) -> None:
    (tmp_path / "accuracy").mkdir()
    score = {"cort": 0.5, "all": 0.25}
    for name, images in (("flow, a", 7), ("flow, b", 15)):
        scores = {"own parameters": {**score, "images": images}, "ceiling": {**score, "images": 35}}
        entry = {"name": name, "training": "none", "folds": [0, 1], "scores": scores}
        (tmp_path / "accuracy" / f"{name}.json").write_text(json.dumps(entry))
    run("accuracy")
    lines = (tmp_path / "page.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| flow, ") and "own parameters" in line]
    assert rows == [
        f"| flow, {name} | none | 0, 1 | {images} | own parameters | 0.500 |  |  | 0.250 |"
        for name, images in (("b", 15), ("a", 7))
    ]
    assert [line for line in lines if line.startswith("| flow | ")] == ["| flow | 35 | 0.500 |  |  | 0.250 |"]


def test_looks(load: Load, run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load("looks"), "SETS", ("sartorius", "usiigaci"))
    lines = [line for line in run("looks", data).splitlines() if line]
    assert len(lines) == 2 * 2 * 2 * 4  # sets, models, as it is or inverted, views and with cells
    assert all(re.search(r"\d images, [\d.]+% with a note$", line) for line in lines)


def test_depthwise(run: Run) -> None:
    answer = json.loads(run("depthwise", "--encoder", "tf_efficientnet_lite0", "--repeats", 1))
    first, second = answer["seconds"].values()
    assert answer["ratio"] == first / second


def test_embedding_ceiling(run: Run, data: Path, tmp_path: Path) -> None:
    words = ("--decoders", "connected", "--thresholds", 0.7, "--json", tmp_path / "ceiling.json")
    run("embedding", "ceiling", data / "sartorius", *words)
    table = json.loads((tmp_path / "ceiling.json").read_text())["connected"]
    assert table["0.0"]["all"] > 0.9
    assert table["0.0"]["all"] >= table["0.3"]["all"]


def test_embedding_speed_of_our_own(load: Load) -> None:
    """That of the peer needs an interpreter with scikit-learn."""
    labels = SyntheticDataset(1, shape=(96, 96)).instances(0).to_label_map()
    found = load("embedding").ours(oracle_embeddings(labels, 8), labels)
    assert found["ms"] > 0
    assert max(found["map_by_threshold"].values()) > 0.9


def test_end_to_end_network(load: Load, data: Path) -> None:
    seconds = load("end_to_end").network_only(data / "sartorius" / "train", "nuclei", "float32", repeats=2)
    assert 0 < seconds < 60


@pytest.mark.slow
def test_end_to_end(run: Run, tmp_path: Path) -> None:
    run("end_to_end", "--images", 2, "--json", tmp_path / "answer.json")
    for row in json.loads((tmp_path / "answer.json").read_text())["runs"].values():
        assert row["images"] == 2
        assert row["cells"] > 0
        assert row["seconds_an_image"] < row["with_start"]
        assert row["network_only"] > 0


@pytest.mark.slow
def test_first_run(run: Run) -> None:
    answer = json.loads(run("first_run"))
    assert answer["first"]["cpu_seconds"] > answer["second"]["cpu_seconds"] > 0


def test_flows(run: Run, data: Path, tmp_path: Path) -> None:
    """The peers' files are made of the truth, which both sides give back."""
    dataset, ids = open_dataset(data / "sartorius"), []
    for name in ("flows", "masks"):
        (tmp_path / name).mkdir()
    for sample in dataset:
        labels = sample.instances.to_label_map()
        flow, cell = flow_field(labels), (labels > 0).astype(np.float32)[None]
        np.savez(tmp_path / "flows" / f"{sample.info.id}.npz", flow=flow, cell=cell)
        np.savez(tmp_path / "masks" / f"{sample.info.id}.npz", labels=labels)
        ids.append(sample.info.id)
    (tmp_path / "times.json").write_text(json.dumps({"seconds": dict.fromkeys(ids, 1.0)}))
    times = [tmp_path / "times.json"] * 2
    answer = json.loads(run("flows", data / "sartorius", tmp_path / "flows", tmp_path / "masks", *times))
    assert answer["images"] == len(dataset)
    assert answer["decode_ratio"] == pytest.approx(1 / answer["decode"], rel=0.1)
    assert min(answer["map"], answer["cellpose_map"]) > 0.9


def test_fusion(run: Run, tmp_path: Path) -> None:
    run("fusion", "--models", 2, "--instances", 10, "--repeats", 1)
    entry = json.loads((tmp_path / "fusion.json").read_text())
    assert (entry["models"], entry["instances"]) == (2, 10)
    assert "boxes, box" in entry["seconds"]
    assert "boxes, mask" not in entry["seconds"]


def test_fusion_export(run: Run, data: Path, tmp_path: Path) -> None:
    run("fusion", "--export", tmp_path / "cases.npz", "--data", data / "sartorius")
    with np.load(tmp_path / "cases.npz") as cases:
        assert len({name.split("/")[0] for name in cases}) == len(open_dataset(data / "sartorius"))


@pytest.mark.slow
def test_gan(run: Run, tmp_path: Path) -> None:
    small = sets(TINY_GAN)
    said = run("gan", tmp_path / "run", "--steps", 10, *small, "--picture", tmp_path / "picture.png")
    assert 0 <= float(re.search(r"mAP on 6 new images ([\d.]+)", said)[1]) <= 1  # type: ignore[index]
    assert (tmp_path / "picture.png").is_file()


@pytest.mark.slow
def test_kernels(run: Run) -> None:
    rows = json.loads(run("kernels", "--size", 128, "--calls", 2, "--repeats", 2))["rows"]
    assert {"from_label_map", "overlaps", "paste", "sha256 (control)"} <= set(rows)
    assert all(row["milliseconds"] > 0 and row["two threads"] > 0.5 for row in rows.values())


def test_kill(run: Run) -> None:
    answer = json.loads(run("kill", "--kills", 1, "--images", 4, "--height", 96, "--width", 96))
    assert answer["kills"] == 1
    assert answer["files_opened_while_running"] > 0
    assert answer["differing"] == answer["half_written"] == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no wait4")
def test_memory(run: Run) -> None:
    answer = json.loads(run("memory", "--few", 1, "--many", 2, "--height", 64, "--width", 96))
    few, many = answer["runs"]
    assert (few["images"], many["images"]) == (1, 2)
    assert answer["ratio"] == many["peak_megabytes"] / few["peak_megabytes"]


def test_metric(run: Run, data: Path) -> None:
    answer = json.loads(run("metric", "--data", data))
    dataset = open_dataset(data / "sartorius")
    assert answer["masks"] == sum(len(dataset.instances(index)) for index in range(len(dataset)))
    assert answer["brute_force_difference"] < 1e-12
    assert 0 < answer["score"] < 1


def test_overfit(run: Run, data: Path) -> None:
    words = (
        "--family",
        "flow",
        "--size",
        64,
        "--steps",
        2,
        "--set",
        "config.widths=[8, 16]",
        "--set",
        "config.blocks=[0, 1]",
    )
    answer = json.loads(run("overfit", data / "sartorius", *words))
    assert set(answer["map"]) == {"cort", "shsy5y"}


def test_rcnn_paste(load: Load, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load("rcnn"), "COUNT", 20)
    assert re.match(r"20 masks, 0 of \d+ pixels differ", run("rcnn", "paste"))


@pytest.mark.slow
def test_rcnn_equality(run: Run) -> None:
    differences = dict(re.findall(r"  ([\w ()]+): ([\d.e+-]+)", run("rcnn", "equality")))
    assert max(float(value) for value in differences.values()) < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("part", ["dense", "recipes"])
def test_rcnn_networks(part: str, load: Load, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("rcnn")
    monkeypatch.setattr(module, "SHAPE", (96, 128))
    monkeypatch.setattr(module, "DENSE", 20)
    said = run("rcnn", part)
    assert re.search(r"^rcnn-r50-small: ", said, re.MULTILINE)


@pytest.mark.slow
def test_semi(run: Run, two_of_each_type: Path, tmp_path: Path) -> None:
    words = ("--recipe", "flow", "--seeds", 0, "--minutes", 1, "--confidence", 0, "--candidate", 0)
    methods = ("--methods", "half", "pseudo", "teacher", "all")
    run("semi", two_of_each_type, tmp_path / "runs", *words, *methods, *sets(TINY_FLOW))
    scores = json.loads((tmp_path / "semi.json").read_text())["flow"]["scores"]
    assert {"half", "teacher", "all"} <= set(scores)


@pytest.mark.slow
def test_steps(run: Run, data: Path, tmp_path: Path) -> None:
    run("steps", data / "sartorius", "neurons:0", "nuclei:0", "--cache", tmp_path / "cache", "--trials", 1)
    rows = json.loads((tmp_path / "steps.json").read_text())["rows"]
    assert [row["step"].split(" ")[0] for row in rows] == ["1", "1", "1", "2", "2", "2", "fusion"]


def test_tuning(run: Run, data: Path, tmp_path: Path) -> None:
    run("tuning", data / "sartorius", "--cache", tmp_path / "cache", "--trials", 1)
    entry = json.loads((tmp_path / "tuning.json").read_text())
    assert entry["images"] == len(open_dataset(data / "sartorius"))
    assert min(entry["optuna"]["settings"], entry["greedy"]["settings"]) > 0


def test_watershed_ceiling(run: Run, data: Path, tmp_path: Path) -> None:
    run("watershed", "ceiling", data / "sartorius", "--json", tmp_path / "rows.json")
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert len(rows) == 2 * 4 * 4
    assert max(row["overall"] for row in rows) > 0.9


def test_watershed_speed(run: Run, data: Path, tmp_path: Path) -> None:
    run("watershed", "speed", data / "sartorius", "--json", tmp_path / "rows.json")
    dataset = open_dataset(data / "sartorius")
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["cells"] == max(len(dataset.instances(index)) for index in range(len(dataset)))


@pytest.mark.slow
def test_watershed_overfit(run: Run, data: Path, tmp_path: Path) -> None:
    words = ("--steps", 2, "--side", 64, "--stages", "semantic", "direction")
    run("watershed", "overfit", data / "sartorius", *words, "--out", tmp_path / "run", "--json", tmp_path / "rows.json")
    assert [row["stage"] for row in json.loads((tmp_path / "rows.json").read_text())] == ["semantic", "direction"]


def test_same_results(run: Run, load: Load, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("same_results")
    monkeypatch.setattr(module, "MODELS", ("nuclei",))
    monkeypatch.setattr(module, "RUNS", {"flow": module.RUNS["flow"]})
    out = tmp_path / "same.json"
    said = run("same_results", REPOSITORY, REPOSITORY, data / "usiigaci", "--steps", 10, "--json", out)
    answer = json.loads(out.read_text())
    assert [(row["what"], row["same"]) for row in answer["results"]] == [
        ("segment, nuclei", True),
        ("train, flow", True),
    ]
    assert answer["results"][0]["files"] == 6  # of two images and of the folder
    assert answer["results"][1]["figures"] >= 4  # three losses or more and the learning rate
    assert "lines of src" in said


def test_same_results_names_what_differs(load: Load, tmp_path: Path) -> None:
    module = load("same_results")
    for name, text in (("before", "id,area\n1,20\n"), ("after", "id,area\n1,21\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cells.csv").write_text(text)
        (tmp_path / name / "images.csv").write_text("image,cells\n")
    found = module.compare_files(tmp_path / "before", tmp_path / "after")
    assert found == {"files": 2, "different": ["cells.csv"], "same": False}
    package = tmp_path / "src" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "first.py").write_text("from package import second\n")
    (package / "second.py").write_text("def late():\n    from package.first import thing\n")
    (package / "third.py").write_text("import package.first\n")
    assert module.import_circles(tmp_path / "src") == [["package.first", "package.second"]]


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.name)
def test_every_benchmark_has_a_smoke_test(path: Path) -> None:
    """The others are imported by these."""
    if "def main(" in path.read_text(encoding="utf-8"):
        assert re.search(rf'(run|load)\("{path.stem}"', Path(__file__).read_text(encoding="utf-8"))


def test_train_queue(run: Run, data: Path, tmp_path: Path) -> None:
    assert run("train_queue", data, "--runs", tmp_path / "runs", "--status").startswith("run ")


def test_peers_export(run: Run, data: Path, tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS / "peers")
    run("export", data / "sartorius", tmp_path / "samples")
    samples = load("samples").read_samples(tmp_path / "samples")
    assert [sample.fold for sample in samples] == [0, 0, 0, 1, 1, 1]
    assert all(sample.labels.shape == sample.image.shape for sample in samples)


def test_peers_say_where_they_are_missed(tmp_path: Path) -> None:
    command = [BENCHMARKS / "peers" / "run", "networks_speed"]
    done = subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", "CYTOTOME_PEERS": str(tmp_path / "python")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "run benchmarks/peers/setup or set CYTOTOME_PEERS" in done.stderr
