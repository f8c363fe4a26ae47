"""Scores of single frames: prediction and truth in, metrics over the image and by range out.

Offline evaluation, replay and the live evaluator all score with this, and with nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpt_ros.evaluation.alignment import (
    ALIGNMENTS,
    Aligned,
    AlignmentError,
    Known,
    Values,
    align,
)
from dpt_ros.evaluation.protocols import MIN_DEPTH_M, Protocol, ProtocolError
from dpt_ros.geometry.scale_shift import depth_within
from dpt_ros.metrics import METRICS, metrics_of_groups


@dataclass(frozen=True)
class FrameScore:
    """One frame under one protocol and one alignment.

    Args:
        frame: the sample's id.
        protocol, alignment: their names.
        values: [1 + ranges, len(METRICS)] float64, of the whole image, then of each range; NaN
            where no pixel counts. None: not scored, and `remark` says why.
        pixels: [1 + ranges] int64, how many pixels count.
        scale, shift: what made inverse depth metric; NaN if nothing did.
        coverage: share of the pixels with truth for which there is a prediction.
        remark: why there is no score, or what to know of it; "" mostly.
    """

    frame: str
    protocol: str
    alignment: str
    values: NDArray[np.float64] | None
    pixels: NDArray[np.int64]
    scale: float = math.nan
    shift: float = math.nan
    coverage: float = math.nan
    remark: str = ""

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics over the whole image; NaN where it was not scored."""
        values = [math.nan] * len(METRICS) if self.values is None else self.values[0].tolist()
        return dict(zip(METRICS, values, strict=True))


def score_frame(
    frame: str,
    inverse_depth: NDArray[np.floating],
    truth_m: NDArray[np.floating],
    protocol: Protocol,
    known: Known,
    alignments: Iterable[str] = tuple(ALIGNMENTS),
) -> list[FrameScore]:
    """Score a frame.

    Args:
        frame: what to call it.
        inverse_depth: what the network says, [H,W], relative; NaN where it says nothing.
        truth_m: [H,W] metres along the optical axis, NaN where unknown.
        protocol: which pixels count and how far.
        known: the scale and shift, or why there is none, of the alignments "none" and
            "calibration".
        alignments: names of `ALIGNMENTS`; those that the protocol does not know are left out.

    Returns:
        One score for every alignment, in the given order.

    Raises:
        ValueError: shapes that differ, or an unknown alignment.
    """
    if inverse_depth.shape != truth_m.shape or truth_m.ndim != 2:
        raise ValueError(
            f"{frame}: got inverse_depth {inverse_depth.shape} and truth_m {truth_m.shape}, "
            "expected one shape (H, W)"
        )
    wanted = [a for a in alignments if not protocol.alignments or a in protocol.alignments]
    try:
        pixels = _Pixels.of_frame(inverse_depth, truth_m, protocol)
    except ProtocolError as error:
        none = np.zeros(len(protocol.edges_m), np.int64)
        return [
            FrameScore(frame, protocol.name, name, None, none, remark=str(error)) for name in wanted
        ]
    return [_score(frame, pixels, protocol, name, known) for name in wanted]


def aligned_depth(
    inverse_depth: NDArray[np.floating], score: FrameScore, protocol: Protocol
) -> NDArray[np.float64]:
    """Depth in metres of a whole image, [H,W], as it was aligned for its score.

    +Inf beyond the protocol's cap, and NaN where the network says nothing.
    """
    metric = inverse_depth.astype(np.float64) * score.scale + score.shift
    depth_m = depth_within(metric, MIN_DEPTH_M, protocol.cap_m)
    depth_m[metric <= 1.0 / protocol.cap_m] = np.inf
    return depth_m


@dataclass(frozen=True)
class _Pixels:
    """The pixels that count, range after range: [N] each, and the size of each range."""

    inverse_depth: Values
    truth_m: Values
    sizes: NDArray[np.int64]
    coverage: float

    @classmethod
    def of_frame(
        cls,
        inverse_depth: NDArray[np.floating],
        truth_m: NDArray[np.floating],
        protocol: Protocol,
    ) -> _Pixels:
        counts = protocol.counts(truth_m)
        wanted = np.count_nonzero(counts)
        places = np.flatnonzero(counts & np.isfinite(inverse_depth))
        truth = truth_m.ravel()[places]
        ranges = np.zeros(truth.shape, np.uint8)
        for edge in protocol.edges_m[1:-1]:
            ranges += truth >= edge
        # Half the time of sorting.
        of_range = [np.flatnonzero(ranges == n) for n in range(len(protocol.edges_m) - 1)]
        order = np.concatenate(of_range)
        return cls(
            inverse_depth.ravel()[places[order]].astype(np.float64),
            truth[order].astype(np.float64),
            np.array([len(each) for each in of_range], np.int64),
            len(places) / wanted if wanted else math.nan,
        )


def _score(
    frame: str, pixels: _Pixels, protocol: Protocol, alignment: str, known: Known
) -> FrameScore:
    counts = np.concatenate(([pixels.sizes.sum()], pixels.sizes))
    if not counts[0]:
        remark = f"no truth up to {protocol.cap_m:g} m where the {protocol.name} protocol looks"
        if pixels.coverage == 0.0:
            remark = "no prediction where there is truth"
        return FrameScore(frame, protocol.name, alignment, None, counts, remark=remark)
    try:
        aligned = align(pixels.inverse_depth, pixels.truth_m, alignment, known)
    except AlignmentError as error:
        return FrameScore(frame, protocol.name, alignment, None, counts, remark=str(error))
    return FrameScore(
        frame,
        protocol.name,
        alignment,
        _measure(aligned, pixels, protocol),
        counts,
        aligned.scale,
        aligned.shift,
        pixels.coverage,
        aligned.remark,
    )


def _measure(aligned: Aligned, pixels: _Pixels, protocol: Protocol) -> NDArray[np.float64]:
    depth_m = depth_within(aligned.metric_inverse_depth, MIN_DEPTH_M, protocol.cap_m)
    return metrics_of_groups(depth_m, pixels.truth_m, pixels.sizes.tolist())
