"""How much depth flickers from frame to frame where the scene stands still.

Two consecutive frames are compared pixel by pixel. A pixel is static where

- the brightness of the 5 x 5 pixels around it, averaged, changed by at most 3 (of 255),
- and the truth, where both frames have one at that pixel, changed by at most 2 %.

The flicker of the pair is the median over its static pixels of |ln d2 - ln d1|, d being depth in
metres: 0.01 is one percent. A pair counts if it is at most a second apart and at least 2 % of its
pixels are static; while the robot moves, textured surfaces are not.

Without metres, inverse depth stands in for depth: |i2 - i1| over the median of i1. Of a frame with
and one without, nothing is told.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

TRUTH_CHANGE = 0.02
_MAX_CHANGE = 3.0
_MAX_GAP_S = 1.0
_MIN_SHARE = 0.02
_BLUR_PX = 5


@dataclass(frozen=True)
class _Frame:
    stamp_ns: int
    brightness: NDArray[np.float32]
    depth: NDArray[np.float32]
    truth_m: NDArray[np.float32] | None
    is_metric: bool


class Flicker:
    """Takes frames in their order, and keeps the newest and one number for each pair."""

    def __init__(self) -> None:
        self._before: _Frame | None = None
        # Of metres, which are told where there are any, and of inverse depth: (changes, shares).
        self._pairs = {True: (array("d"), array("d")), False: (array("d"), array("d"))}
        self._not_counted = 0

    def add(
        self,
        stamp_ns: int,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.floating],
        truth_m: NDArray[np.float32] | None,
        is_metric: bool,
    ) -> None:
        """Compare a frame with the one before.

        Args:
            stamp_ns: of the frame.
            rgb: [H,W,3].
            depth: [H,W] metres (values that are not finite are left out), or inverse depth.
            truth_m: [H,W] metres, NaN where unknown; None: nowhere known.
            is_metric: whether `depth` is metres.
        """
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
        brightness = np.asarray(cv2.blur(grey, (_BLUR_PX, _BLUR_PX)), np.float32)
        frame = _Frame(stamp_ns, brightness, np.asarray(depth, np.float32), truth_m, is_metric)
        before, self._before = self._before, frame
        if before is not None:
            self._compare(before, frame)

    def summary(self) -> dict[str, Any]:
        """Median and p95 over the pairs, how many pairs and what share of pixels; None if none."""
        is_metric = bool(self._pairs[True][0]) or not (
            self._pairs[False][0] or (self._before is not None and not self._before.is_metric)
        )
        pairs, shares = map(np.array, self._pairs[is_metric])
        found = bool(pairs.size)
        return {
            "median": float(np.median(pairs)) if found else None,
            "p95": float(np.percentile(pairs, 95)) if found else None,
            "pairs": int(pairs.size),
            "pairs_not_counted": self._not_counted,
            "static_share": float(np.mean(shares)) if found else None,
            "of": "depth in metres, |ln d2 - ln d1|"
            if is_metric
            else "inverse depth, |i2 - i1| / median",
        }

    def _compare(self, before: _Frame, after: _Frame) -> None:
        gap_s = (after.stamp_ns - before.stamp_ns) / 1e9
        fits = before.depth.shape == after.depth.shape and before.is_metric == after.is_metric
        if not (fits and 0.0 < gap_s <= _MAX_GAP_S):
            self._not_counted += 1
            return
        static = np.abs(after.brightness - before.brightness) <= _MAX_CHANGE
        static &= np.isfinite(before.depth) & np.isfinite(after.depth)
        if after.is_metric:
            static &= (before.depth > 0.0) & (after.depth > 0.0)
        if before.truth_m is not None and after.truth_m is not None:
            # NaN, nothing known, compares as false.
            static &= ~(np.abs(after.truth_m / before.truth_m - 1.0) > TRUTH_CHANGE)
        share = float(static.mean())
        if share < _MIN_SHARE:
            self._not_counted += 1
            return
        first, second = (frame.depth[static].astype(np.float64) for frame in (before, after))
        if after.is_metric:
            change = np.abs(np.log(second / first))
        else:
            middle = float(np.median(first))
            if middle <= 0.0:
                self._not_counted += 1
                return
            change = np.abs(second - first) / middle
        changes, shares = self._pairs[after.is_metric]
        changes.append(float(np.median(change)))
        shares.append(share)
