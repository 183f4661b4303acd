"""Fitting decode parameters on images that the network was not trained on: the short way into :mod:`.tuning`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from cytotome.contract import DecodeParameters, FamilyConfig
from cytotome.families import AnyFamily
from cytotome.training.tuning import TunableModel, tune_on
from cytotome.types import DenseMaps, Sample

Pair: TypeAlias = "tuple[DenseMaps, Sample]"


def tune(
    family: AnyFamily, config: FamilyConfig, pairs: Sequence[Pair], parameters: DecodeParameters
) -> DecodeParameters:
    """Decode parameters for the challenge's mAP: the family's own fit of the scores, then greedy steps.

    Args:
        family: whose decoder is tuned.
        config: of the model.
        pairs: what the decoder takes, and truth, of images that the network was not trained on.
        parameters: where the search starts.
    """
    outputs, samples = zip(*pairs, strict=True)
    method = TunableModel(family, config, parameters, outputs, samples)
    result, _ = tune_on(method, range(len(pairs)), "greedy")
    assert isinstance(result, DecodeParameters)
    return result
