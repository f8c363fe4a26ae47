"""How well a scale and shift does: errors of frames and by range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpt_ros.geometry.scale_shift import ScaleShift, depth_within
from dpt_ros.metrics import DELTA_THRESHOLD, METRICS, depth_metrics
from dpt_ros.training.fit_pairs import FramePairs
from dpt_ros.training.fit_settings import FitSettings

_FIRST_EDGE_M = 0.25  # doubled again and again


@dataclass(frozen=True)
class FrameFit:
    """One frame: its own fit, and its errors with the written scale and shift.

    Attributes:
        id: of the sample.
        source: its bag or scene.
        stamp_ns: its time.
        is_held_out: whether it took no part in the fit.
        points: how many points were taken of it.
        own: its own scale and shift, or why it has none.
        abs_rel: mean relative error with the written scale and shift.
        own_abs_rel: the same with its own, NaN without.
    """

    id: str
    source: str
    stamp_ns: int
    is_held_out: bool
    points: int
    own: ScaleShift | str
    abs_rel: float
    own_abs_rel: float


@dataclass(frozen=True)
class RangeRow:
    """Errors of the points whose truth lies between two depths.

    Relative error is (prediction - truth) / truth; `bias` is its median, `low` and `high` its 5th
    and 95th percentile; `residual_per_m` is the median absolute residual in 1/m.
    """

    near_m: float
    far_m: float
    points: int
    bias: float
    low: float
    high: float
    residual_per_m: float
    abs_rel: float
    delta1: float


@dataclass(frozen=True)
class Quality:
    """Errors over some frames: the metrics, averaged over frames, and by range over points."""

    frames: int
    points: int
    metrics: dict[str, float]
    own_abs_rel: float
    """AbsRel with each frame's own scale and shift, over the frames that have them; NaN if none."""
    by_range: list[RangeRow]


def frame_fits(
    frames: Sequence[FramePairs],
    own: Mapping[str, ScaleShift | str],
    written: ScaleShift,
    settings: FitSettings,
    *,
    is_held_out: bool,
) -> list[FrameFit]:
    """One entry for each frame."""
    entries = []
    for frame in frames:
        fit = own[frame.id]
        entries.append(
            FrameFit(
                id=frame.id,
                source=frame.source,
                stamp_ns=frame.stamp_ns,
                is_held_out=is_held_out,
                points=frame.truth_m.size,
                own=fit,
                abs_rel=_metrics(frame, written, settings)["abs_rel"],
                own_abs_rel=_metrics(frame, fit, settings)["abs_rel"]
                if isinstance(fit, ScaleShift)
                else float("nan"),
            )
        )
    return entries


def measure(
    frames: Sequence[FramePairs],
    entries: Sequence[FrameFit],
    written: ScaleShift,
    settings: FitSettings,
) -> Quality:
    """Errors of the written scale and shift over frames, at least one.

    Predictions are clamped to the settings' depths, within which the truth lies.
    """
    each = [_metrics(frame, written, settings) for frame in frames]
    own = [entry.own_abs_rel for entry in entries if isinstance(entry.own, ScaleShift)]
    return Quality(
        frames=len(frames),
        points=sum(frame.truth_m.size for frame in frames),
        metrics={name: float(np.mean([values[name] for values in each])) for name in METRICS},
        own_abs_rel=float(np.mean(own)) if own else float("nan"),
        by_range=_by_range(frames, written, settings),
    )


def mean_abs_rel(frames: Sequence[FramePairs], fit: ScaleShift, settings: FitSettings) -> float:
    """AbsRel of a scale and shift, averaged over frames; NaN over none."""
    each = [_metrics(frame, fit, settings)["abs_rel"] for frame in frames]
    return float(np.mean(each)) if each else float("nan")


def best_constant(frames: Sequence[FramePairs]) -> tuple[float, float]:
    """The one depth in metres that is best for all points, and its AbsRel, averaged over frames.

    What does no better knows nothing of the picture.
    """
    depth_m = best_depth_m(np.concatenate([frame.truth_m for frame in frames]))
    each = [float(np.mean(np.abs(depth_m / frame.truth_m - 1.0))) for frame in frames]
    return depth_m, float(np.mean(each))


def best_depth_m(truth_m: NDArray[np.floating]) -> float:
    """The one depth in metres whose AbsRel over true depths [N] is least."""
    ascending = np.sort(truth_m.astype(np.float64))
    weight = np.cumsum(1.0 / ascending)  # mean |c - g| / g is least at the median so weighted
    return float(ascending[np.searchsorted(weight, 0.5 * weight[-1])])


def predicted_m(
    inverse_depth: NDArray[np.generic], scale_shift: ScaleShift, settings: FitSettings
) -> NDArray[np.float64]:
    """Depth in metres, clamped to the settings' depths."""
    metric = scale_shift.scale * inverse_depth.astype(np.float64) + scale_shift.shift
    return depth_within(metric, settings.near_m, settings.far_m)


def _metrics(frame: FramePairs, fit: ScaleShift, settings: FitSettings) -> dict[str, float]:
    valid = np.ones(frame.truth_m.shape, dtype=bool)
    return depth_metrics(predicted_m(frame.inverse_depth, fit, settings), frame.truth_m, valid)


def _by_range(
    frames: Sequence[FramePairs], written: ScaleShift, settings: FitSettings
) -> list[RangeRow]:
    truth_m = np.concatenate([frame.truth_m for frame in frames]).astype(np.float64)
    predicted = np.concatenate([predicted_m(f.inverse_depth, written, settings) for f in frames])
    doublings = np.floor(np.log2(truth_m / _FIRST_EDGE_M)).astype(int)
    rows = []
    for doubling in np.unique(doublings).tolist():
        chosen = doublings == doubling
        p, g = predicted[chosen], truth_m[chosen]
        error = (p - g) / g
        low, bias, high = np.percentile(error, (5.0, 50.0, 95.0)).tolist()
        rows.append(
            RangeRow(
                near_m=_FIRST_EDGE_M * 2.0**doubling,
                far_m=_FIRST_EDGE_M * 2.0 ** (doubling + 1),
                points=int(g.size),
                bias=bias,
                low=low,
                high=high,
                residual_per_m=float(np.median(np.abs(1.0 / p - 1.0 / g))),
                abs_rel=float(np.abs(error).mean()),
                delta1=float(np.mean(np.maximum(p / g, g / p) < DELTA_THRESHOLD)),
            )
        )
    return rows
