"""Inverse depth to metres and millimetres: hand-worked numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dpt_ros.geometry.depth import DepthLimits, depth_to_millimetres, inverse_depth_to_depth
from dpt_ros.geometry.scale_shift import ScaleShift

INF, NAN = math.inf, math.nan


def test_scale_and_shift():
    inverse_depth = torch.tensor([[0.0, 2.0], [4.0, NAN]])
    metric = ScaleShift(0.5, 0.25).apply(inverse_depth)

    torch.testing.assert_close(metric, torch.tensor([[0.25, 1.25], [2.25, NAN]]), equal_nan=True)
    assert inverse_depth[0, 1] == 2.0


@pytest.mark.parametrize("values", [(NAN, 0.0), (1.0, INF)])
def test_scale_and_shift_are_finite(values: tuple[float, float]):
    with pytest.raises(ValueError, match="expected finite"):
        ScaleShift(*values)


def test_depth_and_what_is_none():
    limits = DepthLimits(near_m=0.5, far_m=20.0)
    # metric inverse depth = 0.5 * x + 0.1
    cases = {
        1.8: 1.0,  # 1 / (0.9 + 0.1)
        0.3: 4.0,  # 1 / 0.25
        -0.2: INF,  # metric inverse depth 0: infinitely far
        -5.0: INF,  # negative: beyond infinity
        -0.12: INF,  # 1 / 0.04 = 25 m
        5.8: -INF,  # 1 / 3 m
        INF: -INF,
        -INF: INF,
        NAN: NAN,
    }
    depth_m = inverse_depth_to_depth(torch.tensor(list(cases)), ScaleShift(0.5, 0.1), limits)

    torch.testing.assert_close(depth_m, torch.tensor(list(cases.values())), equal_nan=True)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_zero_inverse_depth_is_infinitely_far(zero: float):
    depth_m = inverse_depth_to_depth(torch.tensor([zero]), ScaleShift(1.0, 0.0), DepthLimits())

    assert depth_m.item() == INF


def test_both_limits_are_still_depth():
    limits = DepthLimits(near_m=0.5, far_m=8.0)
    inverse_depth = torch.tensor([2.0, 2.001, 0.125, 0.1249])
    depth_m = inverse_depth_to_depth(inverse_depth, ScaleShift(1.0, 0.0), limits)

    assert depth_m.tolist() == [0.5, -INF, 8.0, INF]


@pytest.mark.parametrize("limits", [(0.0, 1.0), (2.0, 2.0), (3.0, 2.0), (NAN, 2.0), (0.1, INF)])
def test_impossible_limits_are_refused(limits: tuple[float, float]):
    with pytest.raises(ValueError, match="depth limits: got near_m"):
        DepthLimits(*limits)


def test_millimetres():
    cases = {
        1.2344: 1234,
        1.2346: 1235,
        0.0004: 0,
        65.535: 65535,
        65.5352: 65535,
        65.536: 0,
        1e6: 0,
        -1.0: 0,
        0.0: 0,
        NAN: 0,
        INF: 0,
        -INF: 0,
    }
    for copies in (1, 2, 7):  # each value in the middle of a row and at its end
        millimetres = depth_to_millimetres(torch.tensor([list(cases) * copies]))

        assert millimetres.numpy().dtype == np.uint16
        assert millimetres.numpy().tolist() == [list(cases.values()) * copies]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(33,), (3, 7, 37)])
def test_all_millimetres_are_the_nearest(shape: tuple[int, ...], dtype: torch.dtype):
    depth_m = torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 70.0
    wide = depth_m.double() * 1000.0
    expected = torch.where(wide < 65535.5, wide, 0.0)
    given = torch.full((2, *shape), 7, dtype=torch.uint16)[0]

    for millimetres in (depth_to_millimetres(depth_m), depth_to_millimetres(depth_m, given)):
        assert float((millimetres.to(torch.float64) - expected).abs().max()) <= 0.501
    assert torch.equal(given.int(), depth_to_millimetres(depth_m).int())
    every_other = depth_m[..., ::2]
    assert torch.equal(
        depth_to_millimetres(every_other).int(), depth_to_millimetres(depth_m).int()[..., ::2]
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_millimetres_of_half_precision(dtype: torch.dtype):
    depth_m = torch.tensor([0.5, 2.0, 48.0, INF, NAN], dtype=dtype, requires_grad=True)

    assert depth_to_millimetres(depth_m).tolist() == [500, 2000, 48000, 0, 0]


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), ()])
def test_millimetres_of_an_empty_picture_and_of_a_number(shape: tuple[int, ...]):
    millimetres = depth_to_millimetres(torch.full(shape, 1.5))

    assert tuple(millimetres.shape) == shape and (millimetres.int() == 1500).all()
