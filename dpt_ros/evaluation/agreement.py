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

_FINER = 8  # parts of a cell in each direction: an error is told to within 1 %, not 6 %
_PARTS = CELLS * _FINER
_PIXELS_PER_FRAME = 3000


@dataclass
class Agreement:
    """Counts of pixels by predicted and true depth.

    Args:
        parts: int64 [_PARTS, _PARTS], counts in parts of cells.
        cap_m: the far end of both axes.
    """

    parts: NDArray[np.int64]
    cap_m: float

    @classmethod
    def empty(cls, cap_m: float) -> Agreement:
        """Nothing counted yet."""
        return cls(np.zeros((_PARTS, _PARTS), np.int64), cap_m)

    def add(self, cells: NDArray[np.int64]) -> None:
        """Count the pixels of these parts of cells: `PixelSample.cells`."""
        np.add.at(self.parts.reshape(-1), cells, 1)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Of whole cells, int64 [CELLS, CELLS], rows by prediction, columns by truth."""
        return np.asarray(self.parts.reshape(CELLS, _FINER, CELLS, _FINER).sum(axis=(1, 3)))

    @property
    def edges_m(self) -> NDArray[np.float64]:
        """Edges of the cells, [CELLS + 1]."""
        return np.geomspace(NEAREST_M, self.cap_m, CELLS + 1)

    def error_percentiles(self, percents: tuple[float, ...]) -> NDArray[np.float64]:
        """Percentiles of the relative error p / g - 1 by true depth.

        Returns:
            [CELLS, percents]; NaN where fewer than 20 pixels were counted. As fine as the parts of
            cells.
        """
        step = np.log(self.cap_m / NEAREST_M) / _PARTS
        result = np.full((CELLS, len(percents)), np.nan)
        for column in range(CELLS):
            parts = self.parts[:, column * _FINER : (column + 1) * _FINER]
            rows, columns = np.nonzero(parts)
            counts = np.bincount(rows - columns + _FINER, parts[rows, columns])
            if counts.sum() < 20:
                continue
            share = np.cumsum(counts) / counts.sum()
            apart = np.searchsorted(share, np.array(percents) / 100.0) - _FINER
            result[column] = np.expm1(step * (apart - column * _FINER))
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
        """Where in `Agreement` every pixel falls when this scale and shift make it metric: [N]."""
        depth = depth_within(self.inverse_depth * scale + shift, MIN_DEPTH_M, self.cap_m)
        return _part(depth, self.cap_m) * _PARTS + _part(self.truth_m, self.cap_m)


def _part(depth_m: NDArray[np.float64], cap_m: float) -> NDArray[np.int64]:
    position = np.log(depth_m / NEAREST_M) * (_PARTS / np.log(cap_m / NEAREST_M))
    parts: NDArray[np.int64] = np.clip(position, 0, _PARTS - 1).astype(np.int64)
    return parts
