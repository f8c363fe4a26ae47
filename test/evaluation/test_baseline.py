from __future__ import annotations

import numpy as np
import pytest

from dpt_ros.evaluation.baseline import GRID, BaselineError, MeanInverseDepth


def test_the_mean_is_of_inverse_depth_and_of_measured_pixels_only():
    first, second = np.full(GRID, 2.0), np.full(GRID, 4.0)
    second[:, 64:] = np.nan
    mean = MeanInverseDepth.of([first, second])
    np.testing.assert_allclose(mean.grid[:, :64], (1 / 2 + 1 / 4) / 2)
    np.testing.assert_allclose(mean.grid[:, 64:], 1 / 2)


def test_each_pixel_falls_into_its_own_cell_whatever_the_size():
    truth = np.full((192, 256), np.nan)
    truth[10, 20], truth[191, 255] = 2.0, 8.0
    grid = MeanInverseDepth.of([truth]).grid
    assert grid[5, 10] == 0.5 and grid[95, 127] == 0.125


def test_cells_without_measurements_take_those_around_them():
    truth = np.full(GRID, np.nan)
    truth[:, 0], truth[:, -1] = 2.0, 10.0
    grid = MeanInverseDepth.of([truth]).grid
    assert np.isfinite(grid).all()
    assert (np.abs(grid[:, 10] - 0.5) < np.abs(grid[:, 10] - 0.1)).all()
    assert grid.min() >= 0.1 - 1e-6 and grid.max() <= 0.5 + 1e-6


def test_one_single_point_fills_the_image():
    truth = np.full((30, 40), np.nan)
    truth[3, 4] = 5.0
    np.testing.assert_allclose(MeanInverseDepth.of([truth]).at(60, 80), 0.2, rtol=1e-6)


def test_it_is_resized_smoothly():
    rows = np.linspace(0.1, 1.0, GRID[0])[:, None] * np.ones(GRID)
    image = MeanInverseDepth(rows.astype(np.float32)).at(480, 640)
    assert image.shape == (480, 640) and image.dtype == np.float32
    assert (np.diff(image[:, 0]) >= 0).all()
    assert image[:, 5] == pytest.approx(image[:, 600])


def test_nothing_measured_is_an_error():
    for depths in ([], [np.full((3, 4), np.nan)], [np.full((3, 4), -1.0)]):
        with pytest.raises(BaselineError, match="--baseline"):
            MeanInverseDepth.of(depths)
