"""How predicted and true depth agree, counted on a grid: small, however many frames there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpt_ros.evaluation.protocols import MIN_DEPTH_M, Protocol
from dpt_ros.geometry.scale_shift import depth_within

NEAREST_M = 0.25
CELLS = 96
"""Cells of the grid in each direction, evenly spaced in the logarithm of depth."""

_PIXELS_PER_FRAME = 3000


@dataclass
class Agreement:
    """Counts of pixels by predicted and true depth.

    Args:
        counts: int64 [CELLS, CELLS], rows by prediction, columns by truth.
        cap_m: the far end of both axes.
    """

    counts: NDArray[np.int64]
    cap_m: float

    @classmethod
    def empty(cls, cap_m: float) -> Agreement:
        """Nothing counted yet."""
        return cls(np.zeros((CELLS, CELLS), np.int64), cap_m)

    def add(self, cells: NDArray[np.int64]) -> None:
        """Count the pixels of these cells: `PixelSample.cells`."""
        counts = np.bincount(cells, minlength=CELLS * CELLS)
        self.counts += counts.reshape(CELLS, CELLS)

    @property
    def edges_m(self) -> NDArray[np.float64]:
        """Edges of the cells, [CELLS + 1]."""
        return np.geomspace(NEAREST_M, self.cap_m, CELLS + 1)

    def error_percentiles(self, percents: tuple[float, ...]) -> NDArray[np.float64]:
        """Percentiles of the relative error p / g - 1 by true depth.

        Returns:
            [CELLS, percents]; NaN where fewer than 20 pixels were counted. As fine as the cells.
        """
        middles = np.sqrt(self.edges_m[1:] * self.edges_m[:-1])
        result = np.full((CELLS, len(percents)), np.nan)
        for column in np.flatnonzero(self.counts.sum(axis=0) >= 20):
            share = np.cumsum(self.counts[:, column]) / self.counts[:, column].sum()
            rows = np.searchsorted(share, np.array(percents) / 100.0)
            result[column] = middles[rows] / middles[column] - 1.0
        return result


@dataclass(frozen=True)
class PixelSample:
    """Some pixels of a frame, evenly spread over those that count: float64 [N] each."""

    inverse_depth: NDArray[np.float64]
    truth_m: NDArray[np.float64]
    cap_m: float

    @classmethod
    def of_frame(
        cls,
        inverse_depth: NDArray[np.floating],
        truth_m: NDArray[np.floating],
        protocol: Protocol,
    ) -> PixelSample:
        """Take the sample of images [H,W]."""
        places = np.flatnonzero(protocol.counts(truth_m))
        places = places[:: max(1, len(places) // _PIXELS_PER_FRAME)]
        inverse, truth = inverse_depth.ravel()[places], truth_m.ravel()[places]
        is_said = np.isfinite(inverse)
        inverse, truth = inverse[is_said], truth[is_said]
        return cls(inverse.astype(np.float64), truth.astype(np.float64), protocol.cap_m)

    def cells(self, scale: float, shift: float) -> NDArray[np.int64]:
        """The cell of every pixel when this scale and shift make it metric: [N]."""
        depth = depth_within(self.inverse_depth * scale + shift, MIN_DEPTH_M, self.cap_m)
        return _cell(depth, self.cap_m) * CELLS + _cell(self.truth_m, self.cap_m)


def _cell(depth_m: NDArray[np.float64], cap_m: float) -> NDArray[np.int64]:
    position = np.log(depth_m / NEAREST_M) * (CELLS / np.log(cap_m / NEAREST_M))
    cells: NDArray[np.int64] = np.clip(position, 0, CELLS - 1).astype(np.int64)
    return cells
