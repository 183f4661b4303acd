"""Compares two source trees: label maps and tables of ``segment``, losses and weights of ``train``.

    python benchmarks/same_results.py BEFORE AFTER [DATA] [--json FILE] [--steps 50] [--only segment|train|source]

BEFORE and AFTER are checkouts; each runs its own ``src`` in separate processes, with one thread. DATA is a folder of
images (default: ``examples`` of BEFORE), which every bundled model segments: label maps, overlays and tables are
compared byte for byte. Every family, and one with a mean teacher, is trained on the same synthetic images on the CPU in
float32: logged losses and validation scores are compared as text, weights of the model file bit by bit. Sizes of the
sources and the processor time of ``cytotome --help`` are printed for both. The exit code is 1 if results differ.
"""

from __future__ import annotations

import argparse
import ast
import csv
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from answer import give
from PIL import Image
from safetensors.numpy import load_file

MODELS = ("neurons", "nuclei", "neurons-rcnn", "neurons-ensemble")
IMAGE_ENDINGS = (".png", ".tif", ".tiff", ".jpg")
NO_RESULTS = ("step", "minutes")
"""Columns of the table of losses that need not agree."""
SCHEDULE = {"precision": "float32", "learning_rate": 0.001, "ema": 0.99, "validate_every": 25}
SAMPLING = {"crop": [96, 96], "batch": 2, "workers": 0}
WIDTHS, BLOCKS = [8, 16, 16], [0, 1, 1]
COMPACT = {"widths": WIDTHS, "blocks": BLOCKS, "input_scale": 1.0}
UNETR = {"window": [96, 96], "hidden_size": 16, "mlp_size": 32, "heads": 2}
RUNS: dict[str, dict[str, Any]] = {
    "embedding": {"config": {**COMPACT, "pixels": 64}},
    "flow": {"config": COMPACT},
    "rcnn": {"config": {"widths": [8, 8, 16, 16], "pyramid_channels": 16, "box_features": 32, "mask_channels": 16}},
    "unetr": {"config": UNETR},
    "unetr_gan": {"config": UNETR, "sampling": {**SAMPLING, "batch": 4}},
    "watershed": {
        "config": {
            **COMPACT,
            **{f"{trunk}_widths": WIDTHS for trunk in ("direction", "energy")},
            **{f"{trunk}_blocks": BLOCKS for trunk in ("direction", "energy")},
        }
    },
    "flow with a teacher": {"family": "flow", "config": COMPACT, "teacher": {"weight": 1.0, "ramp": 0.2}},
}
"""Recipes of small networks, by name; the family is named as the recipe where none is given."""


def command(tree: Path, *words: Any) -> tuple[str, float]:
    """The output of ``cytotome`` of a tree, and its processor time in seconds."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "cytotome", *map(str, words)], env=environment, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{tree}: cytotome {' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_disks(folder: Path, labelled: int = 6, unlabelled: int = 2) -> None:
    """Writes images of disks on noise with their label maps; the last ones have none."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    rows, columns = np.ogrid[:96, :112]
    for index in range(labelled + unlabelled):
        rng = np.random.default_rng(index)
        labels = np.zeros((96, 112), np.uint16)
        for number, (y, x) in enumerate(((y, x) for y in (16, 48, 80) for x in (18, 56, 94)), start=1):
            dy, dx, squared_radius = *rng.integers(-4, 5, 2), rng.integers(40, 140)
            labels[(rows - y - dy) ** 2 + (columns - x - dx) ** 2 <= squared_radius] = number
        pixels = rng.integers(20, 70, labels.shape) + 120 * (labels > 0)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{index}.png")
        if index < labelled:
            Image.fromarray(labels).save(folder / "labels" / f"{index}.png")


def images_of(data: Path) -> list[Path]:
    """The images of a folder, except those in folders ``labels``."""
    return sorted(path for path in data.rglob("*") if path.suffix in IMAGE_ENDINGS and path.parent.name != "labels")


def compare_files(before: Path, after: Path) -> dict[str, Any]:
    """Counts the results of two folders that are identical, and lists those that differ."""
    names = sorted(
        {
            str(path.relative_to(folder))
            for folder in (before, after)
            for path in folder.rglob("*")
            if path.suffix in (".tif", ".png", ".csv") and ".done" not in path.parts
        }
    )
    different = [
        name
        for name in names
        if not all((folder / name).is_file() for folder in (before, after))
        or (before / name).read_bytes() != (after / name).read_bytes()
    ]
    return {"files": len(names), "different": different, "same": bool(names) and not different}


def compare_segmenting(trees: Sequence[Path], images: Sequence[Path], work: Path) -> Iterator[dict[str, Any]]:
    """Compares label maps, overlays and tables of each bundled model."""
    for model in MODELS:
        folders = [work / f"{model}-{number}" for number in range(2)]
        for tree, folder in zip(trees, folders, strict=True):
            command(tree, "segment", *images, "-o", folder, "--model", model)
        yield {"what": f"segment, {model}", **compare_files(*folders)}


def write_recipe(path: Path, name: str, steps: int) -> None:
    """A recipe of :data:`RUNS`."""
    content = {"family": name, "sampling": SAMPLING, **RUNS[name]}
    content |= {"name": "run", "schedule": {**SCHEDULE, "steps": steps}, "seed": 3}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def compare_training(trees: Sequence[Path], steps: int, work: Path) -> Iterator[dict[str, Any]]:
    """Compares losses and weights of each family."""
    write_disks(work / "disks")
    for name in RUNS:
        write_recipe(work / "run.yaml", name, steps)
        folders = [work / f"{name}-{number}" for number in range(2)]
        for tree, folder in zip(trees, folders, strict=True):
            words = ("--data", work / "disks", "-o", folder, "--fold", 0, "--device", "cpu")
            command(tree, "train", work / "run.yaml", *words)
        yield {"what": f"train, {name}", **compare_runs(*folders)}


def compare_runs(before: Path, after: Path) -> dict[str, Any]:
    """Compares losses and weights of two runs."""
    tables = [
        list(csv.DictReader((folder / "metrics.csv").read_text(encoding="utf-8").splitlines()))
        for folder in (before, after)
    ]
    curves = [
        [(row["step"], name, value) for row in table for name, value in sorted(row.items()) if name not in NO_RESULTS]
        for table in tables
    ]
    different = [f"{new[1]} at {new[0]}: {old[2]} -> {new[2]}" for old, new in zip(*curves, strict=False) if old != new]
    weights = [load_file(folder / "run.safetensors") for folder in (before, after)]
    agree = weights[0].keys() == weights[1].keys() and all(
        np.array_equal(value, weights[1][name], equal_nan=True) for name, value in weights[0].items()
    )
    return {
        "figures": len(curves[0]),
        "different": different[:12],
        "weights agree": agree,
        "same": agree and bool(curves[0]) and curves[0] == curves[1],
    }


def imported_modules(path: Path, names: set[str]) -> set[str]:
    """Modules of the package that a file imports, including imports in functions, except for type checking."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            found.update(
                inner if (inner := f"{node.module}.{alias.name}") in names else node.module for alias in node.names
            )
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found & names


def import_circles(source: Path) -> list[list[str]]:
    """Groups of modules that import each other, directly or indirectly."""
    files = {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in source.rglob("*.py")
    }
    imports = {name: imported_modules(path, set(files)) for name, path in files.items()}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(imports[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += imports[name]
        return seen

    closed = {name: reached(name) for name in files}
    groups = {frozenset(other for other in closed[name] if name in closed[other]) for name in files}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def facts(tree: Path) -> dict[str, Any]:
    """Sizes of a source tree, and the time of its help."""
    source = tree / "src"
    contract = (source / "cytotome" / "contract.py").read_text(encoding="utf-8")
    circles = import_circles(source)
    return {
        "lines of src": sum(len(path.read_text(encoding="utf-8").splitlines()) for path in source.rglob("*.py")),
        "files of src": len(list(source.rglob("*.py"))),
        "import circles": len(circles),
        "modules in circles": [", ".join(group) for group in circles],
        "Any in contract.py": len(re.findall(r"\bAny\b", contract)),
        "seconds of cytotome --help": round(min(command(tree, "--help")[1] for _ in range(5)), 2),
    }


def main() -> None:
    """Compares two trees."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--only", choices=("segment", "train", "source"), action="append")
    options = parser.parse_args()
    trees = [options.before.resolve(), options.after.resolve()]
    parts = options.only or ["segment", "train", "source"]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        images = images_of((options.data or trees[0] / "examples").resolve())
        found = [compare_segmenting(trees, images, work)] if "segment" in parts else []
        found += [compare_training(trees, options.steps, work)] if "train" in parts else []
        for comparison in found:
            for row in comparison:
                rows.append(row)
                print(f"{row['what']:32} {'same' if row['same'] else 'DIFFERENT'}", flush=True)
    sources = [facts(tree) for tree in trees] if "source" in parts else []
    for name in sources[0] if sources else ():
        print(f"{name:32} " + " -> ".join(str(one[name]) for one in sources))
    give({"results": rows, "before": sources[:1], "after": sources[1:]}, options.json)
    if not all(row["same"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
