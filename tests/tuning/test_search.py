"""Tuned decode parameters: better on what they are fitted on, per cell type, and not led astray by a lucky peak."""

from __future__ import annotations

import numpy as np

from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.families.flow import FAMILY
from cytotome.families.flow.config import FlowConfig, FlowParameters
from cytotome.metrics.challenge import mean_score
from cytotome.tuning.nested import ENOUGH, tune
from cytotome.tuning.search import smoothed
from cytotome.types import Dataset, DenseMaps, Sample


def _noisy_pairs(dataset: Dataset, config: FlowConfig) -> list[tuple[DenseMaps, Sample]]:
    rng = np.random.default_rng(0)
    pairs = []
    for sample in dataset:
        assert sample.instances is not None
        maps = dict(FAMILY.oracle(FAMILY.targets(sample.instances, config), config))
        maps["cell"] = np.clip(0.25 + 0.5 * maps["cell"] + rng.normal(0, 0.1, maps["cell"].shape), 0, 1).astype("f4")
        maps["flow"] = (maps["flow"] + rng.normal(0, 0.2, maps["flow"].shape)).astype(np.float32)
        pairs.append((maps, sample))
    return pairs


def _score(config: FlowConfig, pairs: list[tuple[DenseMaps, Sample]], parameters: FlowParameters) -> float:
    found = [FAMILY.decode(maps, parameters, config.class_names) for maps, _ in pairs]
    return mean_score(found, [sample.instances for _, sample in pairs if sample.instances is not None])


def test_tuning_raises_the_score_and_few_images_get_no_parameters_of_their_own() -> None:
    dataset = SyntheticDataset(4, seed=3, cell_types=("cort",), shape=(128, 160))
    config = FlowConfig(class_names=("cort", "astro"))
    pairs = _noisy_pairs(dataset, config)
    start = FAMILY.parameters(cell_threshold=0.3)
    before = _score(config, pairs, start)
    few = tune(FAMILY, config, pairs[: ENOUGH - 1], start)
    enough = tune(FAMILY, config, pairs, start)
    assert few.by_class == {}
    assert set(enough.by_class) == {"cort"}
    assert _score(config, pairs, enough) > before + 0.02


def test_a_plateau_beats_a_lucky_peak() -> None:
    scores = np.array([0.1, 0.5, 0.1, 0.42, 0.44, 0.43, 0.2])
    assert int(np.argmax(smoothed(scores))) == 4
