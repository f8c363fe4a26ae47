"""Colours: hand-worked grays, OpenCV's tables, robust limits."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from dpt_ros.inference.colormap import COLORMAPS, ColormapSettings, color_range, colorize


def test_grays_by_hand():
    inverse_depth = torch.tensor([[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]])
    limits = torch.tensor([[1.0], [4.0]])
    colors = colorize(inverse_depth, ColormapSettings("gray"), limits)

    assert (colors.dtype, colors.shape) == (torch.uint8, (1, 2, 3, 3))
    assert colors[..., 0].tolist() == [[[0, 0, 85], [170, 255, 255]]]
    assert torch.equal(colors[..., 0], colors[..., 1])
    assert torch.equal(colors[..., 0], colors[..., 2])


@pytest.mark.parametrize("name", [name for name in COLORMAPS if name != "gray"])
def test_colours_are_opencvs(name: str):
    levels = torch.arange(256.0).reshape(1, 16, 16)
    colors = colorize(levels, ColormapSettings(name), torch.tensor([[0.0], [255.0]]))

    bgr = cv2.applyColorMap(
        np.arange(256, dtype=np.uint8).reshape(16, 16), getattr(cv2, f"COLORMAP_{name.upper()}")
    )
    np.testing.assert_array_equal(colors[0].numpy(), bgr[..., ::-1])


def test_near_is_bright():
    colors = colorize(torch.tensor([[[0.1, 5.0]]]).expand(1, 2, 2)).int().sum(-1)

    assert bool((colors[0, :, 1] > colors[0, :, 0]).all())


def test_each_image_has_its_own_range():
    ramp = torch.linspace(0, 1, 1024).reshape(1, 32, 32)
    colors = colorize(torch.cat((ramp, 100.0 * ramp + 7.0)))

    assert (colors[0].int() - colors[1].int()).abs().max() <= 3


def test_limits_are_percentiles_that_few_wild_pixels_do_not_move():
    inverse_depth = torch.linspace(0.0, 100.0, 480 * 640).reshape(1, 480, 640)
    inverse_depth = inverse_depth.flatten()[
        torch.randperm(480 * 640, generator=torch.Generator().manual_seed(0))
    ].reshape(1, 480, 640)
    inverse_depth[0, 100:110, 100:110] = 1e6
    inverse_depth[0, 200, :] = torch.nan
    low, high = color_range(inverse_depth, ColormapSettings())

    assert low.item() == pytest.approx(2.0, abs=1.5)
    assert high.item() == pytest.approx(98.0, abs=1.5)


def test_the_limits_of_a_small_image_are_exact():
    inverse_depth = torch.arange(101.0).reshape(1, 1, 101)

    assert color_range(inverse_depth, ColormapSettings()).flatten().tolist() == [2.0, 98.0]


@pytest.mark.parametrize("value", [0.0, 3.0, torch.nan])
def test_a_flat_or_empty_image_has_one_colour(value: float):
    colors = colorize(torch.full((1, 4, 4), value))

    assert len(colors.reshape(-1, 3).unique(dim=0)) == 1


@pytest.mark.parametrize("most", [0.0, 3.0])
def test_the_little_that_is_near_stands_out_from_a_picture_of_one_value(most: float):
    inverse_depth = torch.full((1, 48, 64), most)
    inverse_depth[0, 10, 10], inverse_depth[0, 20, 20], inverse_depth[0, 30, 30] = 10.0, 1e6, -1.0
    colors = colorize(inverse_depth, ColormapSettings("gray"))[0, ..., 0]
    assert (colors[10, 10], colors[20, 20]) == (255, 255)
    assert (colors == 0).sum() == 48 * 64 - 2


@pytest.mark.parametrize("shape", [(1, 8192), (2, 16384), (20000, 1)])
def test_a_line_has_colours_too(shape: tuple[int, int]):
    ramp = torch.arange(float(shape[0] * shape[1])).reshape(1, *shape)
    assert torch.isfinite(color_range(ramp, ColormapSettings())).all()
    assert len(colorize(ramp, ColormapSettings("gray")).unique()) == 256


def test_the_input_is_left_as_it_is():
    inverse_depth = torch.rand(1, 8, 8)
    before = inverse_depth.clone()
    colorize(inverse_depth)

    assert torch.equal(inverse_depth, before)
