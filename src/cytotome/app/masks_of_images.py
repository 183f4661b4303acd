"""Masks matched by name to images, and to the pages of multi-page files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cytotome.app.console import warn
from cytotome.app.discover import Source, discover, split_clashes
from cytotome.app.image_set import ImageSet
from cytotome.app.opening import read_and_warn
from cytotome.datasets.predictions import LabelFolder
from cytotome.errors import ConfigError
from cytotome.types import Instances


@dataclass(frozen=True, slots=True, eq=False)
class MasksOfImages:
    """Masks and images.

    Attributes:
        known: masks by the stem of an image or of a page.
        stacks: pages of each image, none if its file has only one.
        failures: messages for images whose results would have the same names, by their names.
    """

    known: Mapping[str, Instances]
    stacks: Mapping[Source, Sequence[Source]]
    failures: dict[str, str]

    def match(self, page: int | Literal["all"] | None = None) -> tuple[list[Source], list[Source]]:
        """The images, or pages as separate images, that have masks, and those that have none.

        Args:
            page: page of multi-page files, ``all`` for each as a separate image, None for what the masks are of.

        Raises:
            ConfigError: if a page is given, and there are masks of single pages.
        """
        chosen: list[Source] = []
        missing: list[Source] = []
        for source, pages in self.stacks.items():
            whole = [source] if page != "all" and source.stem in self.known else []
            found = [one for one in pages if one.stem in self.known]
            if found and isinstance(page, int):
                raise ConfigError(
                    f"--page {page}: {source.name} has masks of single pages, such as {found[0].stem}; omit --page"
                )
            chosen += whole + found
            if found:
                missing += [one for one in pages if one not in found]
            elif not whole:
                missing.append(source)
        return chosen, missing


def read_masks(masks: Path, images: str, output: Path) -> MasksOfImages:
    """Reads masks of any kind that :func:`cytotome.datasets.predictions.read_predictions` reads.

    Label maps next to the images are not images.

    Raises:
        ConfigError: if there are no images.
        DataError: if the masks cannot be read.
    """
    sources, failures = split_clashes(discover([images], output))
    stacks = {source: [page for page in source.pages() if page.page is not None] for source in sources}
    names = {source.stem: source for source in sources}
    for pages in stacks.values():
        for page in pages:
            names.setdefault(page.stem, page)
    known = read_and_warn(masks, ImageSet(list(names.values()), list(names)))
    if isinstance(known, LabelFolder):
        files = {path.resolve() for path in known.paths.values()}
        stacks = {source: pages for source, pages in stacks.items() if source.path.resolve() not in files}
    return MasksOfImages(known, stacks, failures)


def warn_of_missing(missing: Sequence[Source], total: int) -> None:
    """Prints a warning if images have no masks."""
    if missing:
        warn(f"{len(missing)} of {total} images have no masks, the first is {missing[0].name}")
