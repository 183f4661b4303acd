"""Strong changes of an unlabelled crop, and the crop that the teacher sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cytotome.data.augment import Augmentation
from cytotome.data.sampling import WEAK, Crops, CropSettings, Source
from cytotome.data.strong import StrongChange
from cytotome.datasets.synthetic import SyntheticDataset
from cytotome.families import get_family
from cytotome.types import Dataset, Sample, SampleInfo


def test_strength_multiplies_probabilities_and_ranges() -> None:
    change = StrongChange.of(Augmentation(noise=0.3, noise_range=0.05, blur=0.8), 2.0, 1, 0.5)
    assert (change.augmentation.noise, change.augmentation.noise_range, change.augmentation.blur) == (0.6, 0.1, 1.0)


def test_rectangles_take_the_mean_and_stay_within_their_size() -> None:
    pixels = np.random.default_rng(0).random((40, 60, 1), np.float32)
    kept = pixels.copy()
    areas = []
    for seed in range(30):
        changed = StrongChange(Augmentation.none(), 1, 0.5)(np.random.default_rng(seed), pixels)
        rows, columns = np.nonzero(changed[:, :, 0] != pixels[:, :, 0])
        np.testing.assert_allclose(changed[rows, columns, 0], pixels.mean(), rtol=1e-5)
        areas.append((np.ptp(rows) + 1, np.ptp(columns) + 1))
    assert (pixels == kept).all()
    assert (np.array(areas) <= (20, 30)).all()
    assert np.array(areas).max(axis=0).tolist() > [10, 15]


class Bare(Dataset):
    """A synthetic image with its masks, and one without."""

    def __init__(self) -> None:
        self.whole = SyntheticDataset(2, seed=1, shape=(96, 96))
        self.name, self.class_names = "bare", self.whole.class_names
        self.infos = (SampleInfo("a", "cort"), SampleInfo("b", "cort", mask_quality="none"))

    def read(self, index: int) -> Sample:
        sample: Sample = self.whole[index]
        return Sample(self.infos[index], sample.image, None if index else sample.instances)


def crops(strong: StrongChange | None) -> Any:
    family = get_family("flow")
    settings = CropSettings(size=(64, 64), batch=2, streams=("labelled", "unlabelled"))
    config = family.config(input_scale=1.0)
    return Crops([Source(Bare())], family.targets, config, settings=settings, strong=strong)


def test_the_teacher_sees_the_unlabelled_crop_as_it_is() -> None:
    labelled, unlabelled = (crops(StrongChange(Augmentation()))[index] for index in range(2))
    assert torch.equal(labelled[WEAK], labelled["image"])
    assert not torch.equal(unlabelled[WEAK], unlabelled["image"])
    assert WEAK not in crops(None)[1]


def test_labelled_crops_do_not_depend_on_it() -> None:
    assert torch.equal(crops(StrongChange(Augmentation()))[0]["image"], crops(None)[0]["image"])
