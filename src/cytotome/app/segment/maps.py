"""Pictures of the network's maps, written with the results: ``cytotome segment --maps``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cytotome.errors import ConfigError
from cytotome.inference.segmenter import Segmenter
from cytotome.report.maps import EmbeddingColours, draw_embedding, draw_map, fit_colours, read_colours
from cytotome.types import AnyArray, DenseMaps, OutputSpec

COLOURS_FILE = "embedding_colours.json"


def map_specs(model: Segmenter) -> tuple[OutputSpec, ...]:
    """Returns the maps that a model predicts.

    Raises:
        ConfigError: if it predicts none.
    """
    specs = model.maps
    if not specs:
        raise ConfigError(f"--maps: {model.method} predicts instances, not maps; omit --maps")
    return specs


class MapPictures:
    """Draws the maps of each image, with the same colours for the embeddings of all images of a folder.

    Args:
        specs: specs of the maps.
        path: file of the embeddings' colours, stored with the results so that they are kept when a run is resumed. If
            it is missing, colours are fitted to the first maps that are drawn.
    """

    def __init__(self, specs: Sequence[OutputSpec], path: Path) -> None:
        self.specs, self.path = specs, path
        self.embedding = next((spec for spec in specs if spec.kind == "embedding"), None)
        self.colours: EmbeddingColours | None = None
        if self.embedding is not None and path.is_file():
            self.colours = read_colours(path, self.embedding.channels)

    @property
    def is_ready(self) -> bool:
        """Whether the colours are known, so that images can be drawn in any order."""
        return self.embedding is None or self.colours is not None

    def draw(self, maps: DenseMaps) -> dict[str, AnyArray]:
        """Returns a picture ``(H, W, 3)`` uint8 of each map of an image, by the map's name."""
        cell = maps["cell"][0] if "cell" in maps else None
        if self.embedding is not None and self.colours is None:
            self.colours = fit_colours([maps[self.embedding.name]], None if cell is None else [cell])
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.colours.save(self.path)
        return {
            spec.name: draw_embedding(maps[spec.name], self.colours, cell)
            if spec.kind == "embedding" and self.colours is not None
            else draw_map(maps[spec.name], spec)
            for spec in self.specs
        }
