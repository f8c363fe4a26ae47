"""Lines through points of which all, or nearly all, have the same x: refused, or the right one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpt_ros.geometry.fit import FitError, fit_line
from dpt_ros.geometry.scale_shift import FIT_METHODS


def points(count: int, apart: dict[int, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """All x = 3 but for those given by index, y anywhere from 0 to 1."""
    x = torch.full((count,), 3.0, dtype=torch.float64)
    for index, value in apart.items():
        x[index] = value
    return x, torch.from_numpy(np.random.default_rng(0).random(count))


@pytest.mark.parametrize("with_sigma", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", FIT_METHODS)
def test_equal_x_are_refused_in_every_precision(method, dtype, with_sigma):
    # The mean of a thousand times 0.1 in float32 is not 0.1.
    x = torch.full((1000,), 0.1, dtype=dtype)
    y = torch.from_numpy(np.random.default_rng(0).random(1000)).to(dtype)
    with pytest.raises(FitError, match=r"got 1000 points that all have x = 0\.1"):
        fit_line(x, y, method, with_sigma=with_sigma)


@pytest.mark.parametrize("method", ["ransac", "robust"])
@pytest.mark.parametrize("count", [900, 5000])
def test_a_search_makes_no_line_of_a_few_stray_points(method: str, count: int):
    """Of 900 points it sees all three that differ, of 5000 hardly one."""
    x, y = points(count, {0: 1.0, 1: 2.0, 2: 4.0})
    with pytest.raises(FitError, match="of .* points have the same x, expected at least 1%"):
        fit_line(x, y, method)


@pytest.mark.parametrize("method", ["ransac", "robust"])
def test_a_search_finds_the_line_of_two_points_in_a_hundred(method: str):
    x, _ = points(5000, {index: 4.0 + 0.1 * index for index in range(100)})
    line = fit_line(x, 0.1 * x - 0.2, method)
    assert (line.slope, line.intercept) == pytest.approx((0.1, -0.2), abs=1e-9)


def test_trimming_keeps_all_points_of_one_line():
    """All residuals are rounding: the smaller ones, all at x = 3, are no reason to drop others."""
    x, _ = points(5000, {0: 1.0, 1: 2.0, 2: 4.0})
    line = fit_line(x, 0.1 * x, "trimmed")
    assert (line.slope, line.intercept) == pytest.approx((0.1, 0.0), abs=1e-9)


def test_trimming_refuses_to_keep_nothing_but_equal_x():
    """The two points at x = 1 are far above and below, and the first to be trimmed."""
    x, y = points(100, {0: 1.0, 1: 1.0})
    y[:2] = torch.tensor([50.0, -50.0])
    with pytest.raises(FitError, match="points to fit of 100 all have the same x"):
        fit_line(x, y, "trimmed")
