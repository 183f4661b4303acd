"""What is used of torch beside its public interfaces does what its public counterparts do; nothing else is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional

import cytotome
from cytotome._torch import (
    box_coder,
    box_sampler,
    has_onednn,
    onednn_convolution,
    onednn_takes_bfloat16,
    resize_bilinear,
)

PACKAGE = Path(cytotome.__file__).parent
PRIVATE = re.compile(r"\btorch(vision)?(\.\w+)*\._\w|\btorch\.ops\.|from torch\S*\._")


def test_no_other_file_uses_what_is_private() -> None:
    files = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    using = {name for name, text in files.items() if PRIVATE.search(text)}
    assert "_torch.py" in using
    assert using == {"_torch.py"}


def test_onednn_is_what_the_public_flag_says() -> None:
    assert has_onednn() or not torch.backends.mkldnn.is_available()
    assert has_onednn() or not onednn_takes_bfloat16()


@pytest.mark.skipif(not has_onednn(), reason="torch without oneDNN")
@pytest.mark.parametrize("activation", ["none", "relu", "hardtanh"])
def test_a_convolution_with_its_activation_is_that_of_separate_calls(activation: str) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 4, 9, 11), torch.randn(6, 4, 3, 3), torch.randn(6)
    geometry = (weight, bias, (1, 1), (1, 1), (1, 1), 1)
    plain = functional.conv2d(x, weight, bias, padding=1)
    expected = {"none": plain, "relu": plain.relu(), "hardtanh": plain.clamp(0, 6)}[activation]
    arguments = (0.0, 6.0) if activation == "hardtanh" else ()
    torch.testing.assert_close(onednn_convolution(x, geometry, activation, arguments), expected)
    if activation != "hardtanh":
        other = torch.randn_like(plain)
        expected = plain + other if activation == "none" else (plain + other).relu()
        torch.testing.assert_close(onednn_convolution(x, geometry, activation, other=other), expected)


def test_bilinear_resizing_by_the_exact_factor_is_that_of_interpolate() -> None:
    values = torch.randn(1, 3, 8, 10)
    expected = functional.interpolate(values, size=(20, 15), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize_bilinear(values, (20, 15), (2.5, 1.5)), expected)


def test_boxes_are_coded_and_drawn() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 20.0], [5.0, 5.0, 9.0, 8.0]])
    goals = torch.tensor([[1.0, 2.0, 12.0, 21.0], [4.0, 6.0, 9.0, 9.0]])
    coder = box_coder((10.0, 10.0, 5.0, 5.0))
    torch.testing.assert_close(coder.decode_single(coder.encode_single(goals, boxes), boxes), goals)
    labels = torch.tensor([1.0] * 6 + [0.0] * 30 + [-1.0] * 5)
    (positive,), (negative,) = box_sampler(8, 0.25)([labels])
    assert (int(positive.sum()), int(negative.sum())) == (2, 6)
    assert (labels[positive.bool()] == 1).all()
    assert (labels[negative.bool()] == 0).all()
