"""Plugins: the example package, built and installed, adds a family, a layout and an export; one broken costs itself."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder
from typer.testing import CliRunner

import cytotome as ct
from cytotome.app.cli import app
from cytotome.datasets import layouts
from cytotome.errors import ConfigError, DataError
from cytotome.families import family_names, get_family
from cytotome.plugins import load_plugin, plugin_names

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "plugin"
CIRCLES = [(20, 20, 9), (26, 36, 11), (60, 30, 10)]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package as a wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    list(WheelBuilder(str(EXAMPLE)).build(directory=str(folder)))
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture
def installed(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path into which the example is installed."""
    folder = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "cytotome_circles"]:
        del sys.modules[name]


@pytest.fixture
def circles(tmp_path: Path) -> Path:
    """Two images in the example's layout."""
    folder = tmp_path / "circles"
    folder.mkdir()
    rows = []
    y, x = np.ogrid[:80, :80]
    for name in ("a.png", "b.png"):
        pixels = np.random.default_rng(0).integers(20, 40, (80, 80)).astype(np.uint8)
        for cy, cx, radius in CIRCLES:
            pixels[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = 150
            rows.append(f"{name},{cy},{cx},{radius}")
        cv2.imwrite(str(folder / name), pixels)
    (folder / "circles.csv").write_text("\n".join(["image,y,x,radius", *rows]) + "\n")
    return folder


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Installs a package with one plugin, whose module has the given code."""

    def install(group: str, name: str, code: str) -> None:
        folder = tmp_path / "broken"
        info = folder / "shaky-0.3.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shaky\nVersion: 0.3\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = shaky_{name}:PLUGIN\n")
        (folder / f"shaky_{name}.py").write_text(code)
        monkeypatch.syspath_prepend(str(folder))

    yield install
    for name in [name for name in sys.modules if name.startswith("shaky_")]:
        del sys.modules[name]


def run(*words: object) -> tuple[int, str]:
    """Exit code of a command and all that it says; faults that are expected are one line."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; from cytotome.app.cli import main; main()"]
        + [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_without_plugins_there_are_none() -> None:
    assert plugin_names("cytotome.exports") == ()
    with pytest.raises(ConfigError, match=r"there is no plugin 'rois' in cytotome\.exports; none is installed"):
        load_plugin("cytotome.exports", "rois", object)


def test_the_example_adds_a_layout_that_is_detected(installed: Path, circles: Path) -> None:
    assert layouts()[-1] == "circles"
    for dataset in (ct.open_dataset(circles), ct.open_dataset(circles, layout="circles")):
        assert type(dataset).__name__ == "CirclesDataset"
        sample = dataset[1]
        assert sample.instances is not None
        assert (sample.info.id, len(sample.instances)) == ("b", len(CIRCLES))
        assert sample.instances.overlaps(sample.instances).iou.min() < 1  # two of them overlap
    done = CliRunner().invoke(app, ["data", "info", str(circles)])
    assert done.exit_code == 0
    assert "6" in done.output


def test_the_example_adds_a_family_that_is_trained_saved_and_loaded(
    installed: Path, circles: Path, tmp_path: Path
) -> None:
    assert "small-flow" in family_names()
    recipe = {
        "name": "round",
        "family": "small-flow",
        "sampling": {"crop": [64, 64], "batch": 2, "workers": 0},
        "schedule": {"steps": 3, "validate_every": 0},
    }
    path = ct.train(recipe, circles, output=tmp_path / "run", device="cpu")
    model = ct.load_model(path, device="cpu")
    assert model.family is get_family("small-flow")
    assert model.segment(circles / "a.png").shape == (80, 80)


def test_the_example_adds_an_export_that_segment_writes_and_resumes(
    installed: Path, circles: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    words = ["segment", circles, "-o", output, "-m", "nuclei", "--export", "centres", "--device", "cpu"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    cells = ct.read_predictions(output, ct.open_dataset(circles))
    for name in ("a", "b"):
        lines = (output / f"{name}_circles.csv").read_text().splitlines()
        assert lines[0] == "image,y,x,radius"
        assert len(lines) - 1 == len(cells[name]) > 0
        assert lines[1].startswith(f"{name}.png,")
    (output / "a_circles.csv").unlink()
    again = CliRunner().invoke(app, [str(word) for word in words])
    assert "1 of 2 images segmented" in again.output
    assert (output / "a_circles.csv").is_file()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_library", "cannot be loaded (ModuleNotFoundError: No module named 'no_such_library')"),
        ("PLUGIN = 3", "must be of type Family, got int"),
        ("raise RuntimeError('two\\nlines')", "cannot be loaded (RuntimeError: two lines)"),
    ],
)
def test_a_broken_family_is_one_line_and_costs_itself_only(
    broken: Callable[[str, str, str], None], tmp_path: Path, code: str, said: str
) -> None:
    broken("cytotome.families", "shaky", code)
    assert "shaky" in family_names()
    assert get_family("flow").name == "flow"
    plugin = "the plugin 'shaky' (shaky_shaky:PLUGIN, cytotome.families) of shaky 0.3"
    expected = f"{plugin} {said}; update or uninstall shaky"
    with pytest.raises(ConfigError) as caught:
        get_family("shaky")
    assert str(caught.value) == expected
    status, listing = run("models", "list")
    assert (status, "shaky" in listing) == (0, True)
    status, output = run("targets", "synthetic:1", "-o", tmp_path / "t", "--family", "shaky")
    assert (status, output) == (2, f"error: {expected}\n")


def test_a_broken_layout_is_noted_and_other_layouts_open(
    broken: Callable[[str, str, str], None], tmp_path: Path, circles: Path
) -> None:
    broken("cytotome.layouts", "shaky", "import no_such_library")
    (circles / "circles.csv").unlink()
    (circles / "labels").mkdir()
    ct.write_label_map(circles / "labels" / "a.png", np.eye(80, dtype=np.int32))
    dataset = ct.open_dataset(circles)
    (note,) = [note for note in dataset.notes if "layouts of other packages" in note.what]
    assert "the plugin 'shaky'" in note.names[0]
    with pytest.raises(ConfigError, match="the plugin 'shaky'"):
        ct.open_dataset(circles, layout="shaky")
    with pytest.raises(DataError, match=r"layout 'other' is unknown; choose one of .*, shaky"):
        ct.open_dataset(circles, layout="other")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("PLUGIN = Layout(open=lambda path: 1 / 0)", "the layout 'shaky' cannot open it .ZeroDivisionError"),
        ("PLUGIN = Layout(open=lambda path: [])", "the layout 'shaky' must return a Dataset, got list"),
    ],
)
def test_a_layout_that_fails_is_named(
    broken: Callable[[str, str, str], None], circles: Path, code: str, said: str
) -> None:
    broken("cytotome.layouts", "shaky", "from cytotome.datasets import Layout\n" + code)
    with pytest.raises(DataError, match=said):
        ct.open_dataset(circles, layout="shaky")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("lambda path, image, cells: 1 / 0", "the export 'shaky' failed (ZeroDivisionError: division by zero)"),
        ("lambda path, image, cells: None", "the export 'shaky' wrote no file; it must write the path it is given"),
    ],
)
def test_an_export_that_fails_is_named_and_leaves_the_other_images(
    broken: Callable[[str, str, str], None], circles: Path, tmp_path: Path, function: str, said: str
) -> None:
    code = f"from cytotome.io.exports import Export\nPLUGIN = Export('_x.txt', {function})\n"
    broken("cytotome.exports", "shaky", code)
    words = ["segment", circles, "-o", tmp_path / "out", "-m", "nuclei", "--export", "shaky", "--device", "cpu"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 2
    assert f"{circles / 'a.png'}: {said}" in done.output
    assert not list((tmp_path / "out").glob("*_x.txt"))


def test_two_packages_with_one_name_are_refused(
    broken: Callable[[str, str, str], None], installed: Path, circles: Path
) -> None:
    broken("cytotome.layouts", "circles", "PLUGIN = 3")
    with pytest.raises(ConfigError, match=r"'circles' in .* is offered by cytotome-circles 1\.0 and shaky 0\.3"):
        ct.open_dataset(circles, layout="circles")
