"""The baseline no network can hide behind: a training set's mean inverse depth at every pixel.

It looks at no picture at all. A model that does no better has learnt where the ground is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

GRID = (96, 128)
"""Rows and columns of the mean: truth is sparse, and images differ in size."""

_ENOUGH = 1e-3  # observations per cell, after blurring, that fill a cell without any


class BaselineError(ValueError):
    """A data set that no mean can be taken of."""


@dataclass(frozen=True)
class MeanInverseDepth:
    """The mean metric inverse depth, 1/m, at each place of an image; float32 [GRID]."""

    grid: NDArray[np.float32]

    @classmethod
    def of(cls, depths_m: Iterable[NDArray[np.floating]]) -> MeanInverseDepth:
        """Average images of any sizes.

        Only measured pixels count, each in the cell it falls into; sparse depth is not
        interpolated before. Cells that never saw a measurement take those around them.

        Args:
            depths_m: [H,W] metres each, NaN where unknown; may be read one by one.

        Raises:
            BaselineError: not one pixel has a truth.
        """
        rows, columns = GRID
        total, count = np.zeros(rows * columns), np.zeros(rows * columns)
        for depth_m in depths_m:
            height, width = depth_m.shape
            row, column = np.nonzero(np.isfinite(depth_m) & (depth_m > 0.0))
            cell = (row * rows // height) * columns + column * columns // width
            inverse = 1.0 / depth_m[row, column].astype(np.float64)
            total += np.bincount(cell, weights=inverse, minlength=total.size)
            count += np.bincount(cell, minlength=count.size)
        if not count.any():
            raise BaselineError("the data set holds no truth at all: take another for --baseline")
        return cls(_filled(total.reshape(GRID), count.reshape(GRID)).astype(np.float32))

    def at(self, height: int, width: int) -> NDArray[np.float32]:
        """The mean for an image of this size, float32 [H,W] in 1/m."""
        resized = cv2.resize(self.grid, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized, np.float32)


def _filled(total: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of cells; those without observations from ever wider surroundings."""
    mean = np.full(total.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0.0)
    sigma = 1.0
    while np.isnan(mean).any():
        weight = gaussian_filter(count, sigma, mode="nearest")
        around = gaussian_filter(total, sigma, mode="nearest")
        fill = np.isnan(mean) & (weight > _ENOUGH)
        mean[fill] = around[fill] / weight[fill]
        if sigma > 2 * max(GRID):
            mean[np.isnan(mean)] = total.sum() / count.sum()
        sigma *= 2.0
    return mean
