"""The parts of the network, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from dpt_ros.model.decoder import (
    Decoder,
    DepthHead,
    Fusion,
    Reassemble,
    ResidualUnit,
    double,
    resize,
)
from dpt_ros.model.readout import AddReadout, IgnoreReadout, ProjectReadout
from dpt_ros.model.resnet_layers import (
    SamePaddedMaxPool2d,
    StandardizedConv2d,
    standardize_weight,
)

PATCHES = torch.tensor([[[1.0, 2.0], [-3.0, 0.5]]])  # two tokens of width 2
READOUT = torch.tensor([[[10.0, -1.0]]])


def test_ignore_and_add():
    torch.testing.assert_close(IgnoreReadout()(PATCHES, READOUT), PATCHES)
    expected = torch.tensor([[[11.0, 1.0], [7.0, -0.5]]])
    torch.testing.assert_close(AddReadout()(PATCHES, READOUT), expected)


@torch.no_grad()
def test_project_is_gelu_of_a_linear_map_of_both():
    module = ProjectReadout(2)
    # First output: patch[0] + 0.1 readout[0]; second: patch[1] - readout[1] + 0.5.
    module.project.weight.copy_(torch.tensor([[1.0, 0.0, 0.1, 0.0], [0.0, 1.0, 0.0, -1.0]]))
    module.project.bias.copy_(torch.tensor([0.0, 0.5]))
    before_gelu = [[2.0, 3.5], [-2.0, 2.0]]
    expected = [[v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in row] for row in before_gelu]
    torch.testing.assert_close(module(PATCHES, READOUT), torch.tensor([expected]))


def test_interpolation_aligns_corners():
    row = torch.tensor([0.0, 3.0]).reshape(1, 1, 1, 2)
    torch.testing.assert_close(double(row)[0, 0, 0], torch.tensor([0.0, 1.0, 2.0, 3.0]))
    torch.testing.assert_close(resize(row, (1, 3))[0, 0, 0], torch.tensor([0.0, 1.5, 3.0]))


def test_resizing_to_twice_the_size_is_doubling():
    x = torch.linspace(-1, 1, 60).reshape(1, 3, 4, 5).sin()
    by_factor = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    torch.testing.assert_close(resize(x, (8, 10)), by_factor, rtol=0, atol=0)


def _pass_through(conv: torch.nn.Conv2d, gain: float) -> None:
    """Make a 3x3 convolution multiply each channel."""
    conv.weight.zero_()
    for channel in range(conv.in_channels):
        conv.weight[channel, channel, 1, 1] = gain
    if conv.bias is not None:
        conv.bias.zero_()


@torch.no_grad()
def test_residual_unit_adds_the_input_as_it_came():
    unit = ResidualUnit(1)
    _pass_through(unit.conv1, 2.0)
    _pass_through(unit.conv2, 3.0)
    x = torch.tensor([[[[-1.0, 2.0]]]])
    # relu(-1) = 0 leaves -1; relu(2) = 2 gives 2 + 3 * relu(2 * 2).
    torch.testing.assert_close(unit(x), torch.tensor([[[[-1.0, 14.0]]]]))
    torch.testing.assert_close(x, torch.tensor([[[[-1.0, 2.0]]]]))  # not changed in place


@torch.no_grad()
def test_fusion_adds_deeper_to_the_lateral_unit():
    fusion = Fusion(1, deepest=False)
    for unit in (fusion.lateral_unit, fusion.output_unit):
        _pass_through(unit.conv1, 1.0)
        _pass_through(unit.conv2, 1.0)
    fusion.output_conv.weight.fill_(0.5)
    fusion.output_conv.bias.fill_(100.0)
    lateral = torch.full((1, 1, 2, 2), 1.0)
    deeper = torch.full((1, 1, 2, 2), -5.0)
    # lateral unit: 1 + 1 = 2; sum: -3; output unit: -3 + 0; 1x1 convolution: -1.5 + 100.
    torch.testing.assert_close(fusion(lateral, deeper), torch.full((1, 1, 2, 2), 98.5))
    # The deepest: output unit on the lateral itself, 1 + 1 = 2.
    deepest = Fusion(1, deepest=True)
    deepest.output_unit.load_state_dict(fusion.output_unit.state_dict())
    deepest.output_conv.load_state_dict(fusion.output_conv.state_dict())
    torch.testing.assert_close(deepest(lateral, None), torch.full((1, 1, 2, 2), 101.0))


@torch.no_grad()
def test_convolution_before_upsampling_equals_the_papers_order():
    torch.manual_seed(0)
    fusion = Fusion(6, deepest=True)
    x = torch.randn(2, 6, 5, 7)
    papers = fusion.output_conv(double(fusion.output_unit(x)))
    torch.testing.assert_close(double(fusion(x, None)), papers, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_decoder_brings_odd_levels_together():
    decoder = Decoder((2, 2, 2, 2), 4)
    sizes = ((20, 12), (10, 6), (5, 3), (3, 2))  # an 80x48 image: the grid is 5x3
    levels = [torch.rand(1, 2, *size) for size in sizes]
    assert decoder(levels).shape == (1, 4, 40, 24)


@torch.no_grad()
def test_decoder_stretches_a_deeper_level_over_an_odd_one():
    """A ramp from 0 to 1 over the two columns of the deepest level is one over any number."""
    decoder = Decoder((1, 1, 1, 1), 1)
    for parameter in decoder.parameters():
        parameter.zero_()
    for conv in (*decoder.lateral, *(fusion.output_conv for fusion in decoder.fusion)):
        conv.weight[..., conv.weight.shape[-1] // 2, conv.weight.shape[-1] // 2] = 1.0
    levels = [torch.zeros(1, 1, *size) for size in ((20, 12), (10, 6), (5, 3), (3, 2))]
    levels[3][..., 1] = 1.0
    expected = torch.linspace(0.0, 1.0, 24).expand(40, 24)
    torch.testing.assert_close(decoder(levels)[0, 0], expected)


@pytest.mark.parametrize(("level", "size"), [(0, (12, 20)), (1, (6, 10)), (2, (3, 5)), (3, (2, 3))])
@torch.no_grad()
def test_reassemble_resamples_to_its_stride(level, size):
    module = Reassemble(level, "ignore", 4, 6)
    assert module(torch.rand(2, 15, 4), torch.rand(2, 1, 4), (3, 5)).shape == (2, 6, *size)


@torch.no_grad()
def test_reassemble_keeps_rows_and_columns_apart():
    module = Reassemble(2, "ignore", 1, 1)
    module.projection.weight.fill_(1.0)
    module.projection.bias.zero_()
    tokens = torch.arange(6.0).reshape(1, 6, 1)
    feature_map = module(tokens, torch.zeros(1, 1, 1), (2, 3))
    torch.testing.assert_close(feature_map[0, 0], torch.tensor([[0.0, 1, 2], [3, 4, 5]]))


@torch.no_grad()
def test_head_is_not_negative():
    head = DepthHead(4, 3)
    head.conv3.bias.fill_(-1e3)
    assert (head(torch.rand(1, 4, 2, 3)) == torch.zeros(1, 4, 6)).all()
    head.conv3.bias.fill_(1e3)
    assert (head(torch.rand(1, 4, 2, 3)) > 0).all()


def test_standardized_weight_by_hand():
    weight = torch.tensor([1.0, 3.0, 1.0, 3.0]).reshape(1, 1, 2, 2) * 1e-4
    # Mean 2e-4, deviation 1e-4: 1e-4 / (1e-4 + 1e-5), or 1e-4 / sqrt(1e-8 + 1e-8).
    signs = torch.tensor([-1.0, 1.0, -1.0, 1.0]).reshape(1, 1, 2, 2)
    torch.testing.assert_close(standardize_weight(weight, "sigma"), signs / 1.1)
    torch.testing.assert_close(standardize_weight(weight, "variance"), signs / math.sqrt(2))


def test_standardization_is_of_each_filter_alone():
    weight = torch.tensor([[1.0, -1.0], [300.0, 100.0]]).reshape(2, 2, 1, 1)
    expected = torch.tensor([[1.0, -1.0], [1.0, -1.0]]).reshape(2, 2, 1, 1)
    torch.testing.assert_close(standardize_weight(weight, "sigma"), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_same_padding_puts_the_larger_half_last():
    x = torch.tensor([1.0, 10.0, 100.0, 1000.0]).expand(1, 1, 4, 4)
    conv = StandardizedConv2d(1, 1, 3, stride=2, formula="sigma")
    # Centre row -1, 0, 1 between rows of zeros: right minus left neighbour, over the deviation.
    conv.weight.copy_(torch.tensor([[0.0, 0, 0], [-1, 0, 1], [0, 0, 0]]).reshape(1, 1, 3, 3))
    deviation = math.sqrt(2 / 9) + 1e-5
    # Windows are columns 0-2 and 2-4, of which 4 is padding.
    expected = torch.tensor([99.0, -100.0]) / deviation
    torch.testing.assert_close(conv(x)[0, 0, 0], expected)
    torch.testing.assert_close(conv.folded()(x), conv(x))
    pooled = SamePaddedMaxPool2d()(x)
    torch.testing.assert_close(pooled[0, 0, 0], torch.tensor([100.0, 1000.0]))
