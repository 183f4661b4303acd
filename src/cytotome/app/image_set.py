"""Images without truth, as the dataset for which predictions are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cytotome.app.console import warn
from cytotome.app.discover import Source
from cytotome.errors import DataError, ImageError
from cytotome.io.decode import read_raster
from cytotome.types import Dataset, Instances, Sample, SampleInfo


class ImageSet(Dataset):
    """Images without truth.

    Args:
        sources: the files, or pages of them.
        ids: ids of the images, such as their names without suffix.

    Raises:
        DataError: if two images have the same id.
    """

    def __init__(self, sources: Sequence[Source], ids: Sequence[str]) -> None:
        self.name, self.class_names = "images", ()
        self.sources = list(sources)
        self.infos = tuple(SampleInfo(name, mask_quality="none") for name in ids)
        if doubles := sorted({name for name in ids if ids.count(name) > 1}):
            raise DataError(f"two images are named {doubles[0]!r}; names must be unique, rename one")

    def read(self, index: int) -> Sample:
        """Reads one image."""
        return Sample(self.infos[index], self.sources[index].read())

    def instances(self, index: int) -> Instances | None:
        """Returns None, as there is no truth."""
        return None

    def shapes(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Returns ids and ``(H, W)`` of the images whose files can be read, even if blank; reports which cannot."""
        for info, source in zip(self.infos, self.sources, strict=True):
            try:
                yield info.id, read_raster(source.path, source.page or 0).pixels.shape[:2]
            except ImageError as error:
                warn(str(error))
