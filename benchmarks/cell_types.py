"""Counts images whose cell type is correct, wrong or unknown, on images not used for the statistics.

    python benchmarks/cell_types.py DATA [--model neurons] [--json FILE]

DATA holds sartorius/, livecell/ and usiigaci/. Known types are fold 0 of Sartorius and the SHSY5Y images of LIVECell
that ``scripts/bundled-facts`` leaves out; all other lines of LIVECell, and T98G, are types unknown to the model. Prints
numbers of images by true and predicted type.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from answer import give

from cytotome.datasets import open_dataset
from cytotome.ensemble.load import load_model
from cytotome.types import Image

EVERY = 6
"""As in ``scripts/bundled-facts``."""


def images(data: Path) -> Iterator[tuple[str, Image]]:
    """The images with their types."""
    sartorius, livecell, t98g = (open_dataset(data / name) for name in ("sartorius", "livecell", "usiigaci"))
    for place, info in enumerate(sartorius.infos):
        if info.fold == 0:
            yield f"{info.cell_type} (sartorius)", sartorius[place].image
    seen = 0
    for place, info in enumerate(livecell.infos):
        if info.cell_type == "SHSY5Y" and not info.is_labelled:
            seen += 1
            if seen % EVERY != EVERY // 2:  # one of six, and none of those that the statistics are made of
                continue
        yield f"{info.cell_type} (livecell)", livecell[place].image
    for place in range(len(t98g)):
        yield "T98G (usiigaci)", t98g[place].image


def main() -> None:
    """Measures all images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="neurons")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = load_model(options.model)
    called: dict[str, Counter[str]] = defaultdict(Counter)
    for name, image in images(options.data):
        cells = model.segment(image)
        kind = cells.majority_class()
        called[name][cells.class_names[kind] if kind >= 0 else "unknown" if len(cells) else "nothing found"] += 1
    give(
        {"model": options.model, "called": {name: dict(counts) for name, counts in sorted(called.items())}},
        options.json,
    )


if __name__ == "__main__":
    main()
