"""Convolutions of stride 2; very narrow pictures in bfloat16 on a CPU."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dpt_ros.inference.predictor import DepthPredictor
from dpt_ros.model import create_model
from dpt_ros.model.cards import load_card
from dpt_ros.model.halving import HalvingConv2d
from dpt_ros.model.resnet_layers import StandardizedConv2d


def _fill_freed_memory(value: float) -> None:
    """Leave blocks of many sizes full of a value, for whoever reads memory that is not its own."""
    for count in (256, 1024, 3072, 8192, 65536):
        for _ in range(6):
            torch.full((count,), value, dtype=torch.bfloat16)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("height", [1, 2, 5, 12])
def test_it_is_the_plain_convolution(width: int, height: int) -> None:
    torch.manual_seed(0)
    layer = HalvingConv2d(6, 8)
    x = torch.randn(2, 6, height, width)
    expected = F.conv2d(x, layer.weight, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_with_padding_as_tensorflow_does(width: int) -> None:
    torch.manual_seed(0)
    layer = StandardizedConv2d(6, 8, 3, stride=2, formula="sigma").folded()
    x = torch.randn(2, 6, 4, width)
    expected = F.conv2d(F.pad(x, (0, 1, 0, 1)), layer.folded_weight, stride=2)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("multiple_of", "width"), [(32, 48), (16, 24)])
def test_a_narrow_picture_in_bfloat16_is_like_float32(multiple_of: int, width: int) -> None:
    """Failed on CPUs with AMX: NaN, or 6e32 times as much, differently in each call."""
    card = load_card("dpt_tiny")
    card = dataclasses.replace(card, input=dataclasses.replace(card.input, multiple_of=multiple_of))
    torch.manual_seed(0)
    state = create_model("dpt_tiny").state_dict()
    rgb = np.random.default_rng(0).integers(0, 256, (320, width, 3), np.uint8)
    answers = {}
    for precision in ("float32", "bfloat16"):
        model = create_model("dpt_tiny")
        model.load_state_dict(state)
        predictor = DepthPredictor(model, card, device="cpu", precision=precision)
        assert predictor.network_size(320, width)[1] == multiple_of
        found = []
        for value in (0.0, float("nan"), 1e30):
            _fill_freed_memory(value)
            found.append(predictor.predict(rgb))
        assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
        answers[precision] = found[0]
    difference = np.abs(answers["bfloat16"] - answers["float32"]).mean()
    assert difference < 0.02 * answers["float32"].mean()


@pytest.mark.parametrize("width", [1, 2])
def test_in_mixed_precision_a_narrow_result_is_like_float32(width: int) -> None:
    """As in training with --mixed-precision bfloat16; with AMX it was arbitrary there too."""
    torch.manual_seed(0)
    layer = HalvingConv2d(96, 96)
    x = torch.randn(1, 96, 12, width)
    expected = layer(x)
    for value in (0.0, float("nan"), 1e30):
        _fill_freed_memory(value)
        with torch.autocast("cpu", torch.bfloat16):
            found = layer(x)
        torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)
