"""The tutorials are run, and print what their pages show."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("make_tutorials", REPOSITORY / "scripts" / "make_tutorials.py")
assert _spec is not None
assert _spec.loader is not None
tutorials = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = tutorials
_spec.loader.exec_module(tutorials)
PAGES = sorted((REPOSITORY / "docs" / "tutorials").glob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_tutorials_print_what_their_pages_show(path: Path, tmp_path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    shown = 0
    for step, printed in tutorials.run_page(page, tmp_path):
        if step.shown is not None:
            assert tutorials.agrees(step.shown, printed), (
                f"{step.code}\nprints\n{printed}\nand the page shows\n{step.shown}"
            )
            shown += 1
    assert shown == page.count("```text") > 2
    for picture, source in tutorials.pictures_of(page).items():
        assert (path.parent / picture).is_file()
        assert (tmp_path / source).is_file()


PAGE = """
```bash
echo 10 cells in 2.5 s, mAP 0.41
```

```text
12 cells in ... s, mAP 0.5
```

```python
a = 1
```
```python
print(a + 1, "cells")
```
```text
2 nuclei
```
![x](../a.png "b/c.png")
"""


def test_steps_share_names_and_are_compared(tmp_path: Path) -> None:
    results = list(tutorials.run_page(PAGE, tmp_path))
    assert [printed for _, printed in results] == ["10 cells in 2.5 s, mAP 0.41\n", "", "2 cells\n"]
    assert [step.shown and tutorials.agrees(step.shown, printed) for step, printed in results] == [True, None, False]
    assert tutorials.pictures_of(PAGE) == {"../a.png": "b/c.png"}


def test_a_command_that_fails_ends_the_page(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        list(tutorials.run_page("```bash\n(exit 3) | cat\n```\n", tmp_path))


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("a  1 b", "a 1\nb\n", True),
        ("a 1 b", "a 1 c", False),
        ("mAP 0.50", "mAP 0.2", False),
        ("31 cells", "17 cells", True),
        ("31 cells", "15 cells", False),
        ("a ... 1, ...", "a and 7 and 1, (b)", True),
        ("a ... 1", "a 1 b", False),
        ("file_5.png", "file_5.tif", False),
    ],
)
def test_a_page_agrees_with_what_is_printed(shown: str, printed: str, expected: bool) -> None:
    assert tutorials.agrees(shown, printed) is expected
