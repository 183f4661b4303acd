"""Pictures of the network's maps beside the results: ``cytotome segment --maps``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cytotome.app.discover import Source
from cytotome.app.segment.results import Results
from cytotome.app.segment.settings import SegmentOptions
from cytotome.errors import ConfigError, CytotomeError
from cytotome.inference.segmenter import Segmenter
from cytotome.outputs.tiling import TILE
from cytotome.report.maps import EmbeddingColours, draw_embedding, draw_map, fit_colours, read_colours
from cytotome.types import AnyArray, DenseMaps, Image, OutputSpec

COLOURS_FILE = "embedding_colours.json"


def map_specs(model: Segmenter) -> tuple[OutputSpec, ...]:
    """The maps that a model predicts.

    Raises:
        ConfigError: where it predicts none.
    """
    specs = model.maps
    if not specs:
        raise ConfigError(f"--maps: {model.method} gives instances and no maps; leave --maps out")
    return specs


class MapPictures:
    """Draws the maps of each image; embeddings of all images of a folder in the same colours.

    Args:
        model: predicts the maps, once more than for the cells.
        results: the folder; it keeps the colours of embeddings, so that a run that is resumed has them too.
        sources: all images, of which the first that can be used gives the colours where the folder has none.
        options: those that the cells are found with.
    """

    def __init__(self, model: Segmenter, results: Results, sources: Sequence[Source], options: SegmentOptions) -> None:
        self.model, self.results, self.options = model, results, options
        self.specs = map_specs(model)
        self.colours: EmbeddingColours | None = None
        for spec in self.specs:
            if spec.kind == "embedding":
                self.colours = self._colours(spec, sources)

    def draw(self, image: Image) -> dict[str, AnyArray]:
        """A picture ``(H, W, 3)`` uint8 of each map of an image, by the map's name."""
        maps = self._maps(image)
        pictures: dict[str, AnyArray] = {}
        for spec in self.specs:
            values = maps[spec.name]
            if spec.kind == "embedding" and self.colours is not None:
                pictures[spec.name] = draw_embedding(values, self.colours, _cell(maps))
            else:
                pictures[spec.name] = draw_map(values, spec)
        return pictures

    def _maps(self, image: Image) -> DenseMaps:
        options = self.options
        found = self.model.predict(
            image,
            tta=options.tta,
            tile=options.tile or TILE,
            scale=options.scale,
            diameter=options.diameter,
            keep_outputs=True,
        )
        maps: DenseMaps = found.outputs
        return maps

    def _colours(self, spec: OutputSpec, sources: Sequence[Source]) -> EmbeddingColours | None:
        path = self.results.folder / COLOURS_FILE
        if path.is_file():
            return read_colours(path, spec.channels)
        for source in sources:
            try:
                maps = self._maps(source.read(self.options.first_page))
            except CytotomeError:
                continue  # named when its turn comes
            cell = _cell(maps)
            colours = fit_colours([maps[spec.name]], None if cell is None else [cell])
            path.parent.mkdir(parents=True, exist_ok=True)
            colours.save(path)
            return colours
        return None


def _cell(maps: DenseMaps) -> Any:
    """``(H, W)`` cell probability, None where no map of that name is there."""
    return maps["cell"][0] if "cell" in maps else None
