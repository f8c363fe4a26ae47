"""The fits themselves: of each frame, their average, of all frames together, and resampled."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpt_ros.bootstrap import block_length, draw_blocks
from dpt_ros.geometry.fit import INLIER_SIGMAS, FitError, Line, fit_line
from dpt_ros.geometry.fit_methods import FIT_METHODS
from dpt_ros.geometry.scale_shift import (
    ScaleShift,
    average_scale_shift,
    check_points,
    check_scale,
)
from dpt_ros.training.fit_pairs import FramePairs
from dpt_ros.training.fit_settings import FitSettings

CONFIDENCE = 0.95
"""Share of the resampled fits that lies within an interval."""

_RESAMPLED_POINTS = 10_000
_LEAST_RESAMPLED = 0.6
"""Share of the draws that must have a line; with one good frame of many it is 1 - 1/e."""

Intervals = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Lines:
    """Everything that was fitted.

    Attributes:
        joint: the line through the points of all training frames; weighted as the settings say.
        inlier_share: of those points, within 2.5 sigma of the line.
        joint_interval: 95 % of the joint fits to resampled frames, of scale and of shift (1/m);
            frames that resemble their neighbours are drawn with them (`block_length`).
        of_frames: for each training frame's id its own fit, or why it has none.
        of_held_out: the same of the frames held out, whose ids may be those of training frames
            where they are from another data set.
        average: the mean of the training frames' own fits; None where there are none.
        average_interval: as of the joint fit; None without an average.
        by_method: the joint fit by every method, or why it has none.
    """

    joint: Line
    inlier_share: float
    joint_interval: Intervals
    of_frames: dict[str, ScaleShift | str]
    of_held_out: dict[str, ScaleShift | str]
    average: ScaleShift | None
    average_interval: Intervals | None
    by_method: dict[str, ScaleShift | str]


def fit_lines(
    training: Sequence[FramePairs], held_out: Sequence[FramePairs], settings: FitSettings
) -> Lines:
    """Fit the training frames together and by themselves, and held-out frames by themselves.

    Raises:
        FitError: no scale and shift can be seen, with what to record instead.
    """
    x, y, w = joined(training, settings)
    check_points(x, y)
    _check_depths(y, settings)
    joint = fit_line(x, y, settings.method, w)
    check_scale(joint.slope)
    near = (w * (joint.slope * x + joint.intercept - y)).abs() <= INLIER_SIGMAS * joint.sigma
    of_frames = {frame.id: _own_fit(frame, settings) for frame in training}
    own = [fit for f in training if isinstance(fit := of_frames[f.id], ScaleShift)]
    return Lines(
        joint=joint,
        inlier_share=float(near.double().mean()),
        joint_interval=_resample(training, joint, settings),
        of_frames=of_frames,
        of_held_out={frame.id: _own_fit(frame, settings) for frame in held_out},
        average=average_scale_shift(own) if own else None,
        average_interval=_resample_average(own, settings),
        by_method={name: _checked(x, y, w, name) for name in FIT_METHODS},
    )


def joined(frames: Sequence[FramePairs], settings: FitSettings) -> tuple[Tensor, Tensor, Tensor]:
    """Inverse depth, metric inverse depth and weights of the frames' points, float64 [N] each."""
    x = torch.from_numpy(np.concatenate([frame.inverse_depth for frame in frames])).double()
    truth_m = torch.from_numpy(np.concatenate([frame.truth_m for frame in frames])).double()
    # An error of dy in 1/m is one of truth * dy of the truth.
    return x, 1.0 / truth_m, truth_m if settings.weighting == "relative" else torch.ones_like(x)


def _own_fit(frame: FramePairs, settings: FitSettings) -> ScaleShift | str:
    """One frame's scale and shift, or why it has none."""
    x, y, w = joined([frame], settings)
    try:
        check_points(x, y)
        _check_depths(y, settings)
    except FitError as error:
        return str(error)
    return _checked(x, y, w, settings.method)


def _checked(x: Tensor, y: Tensor, w: Tensor, method: str) -> ScaleShift | str:
    try:
        line = fit_line(x, y, method, w)
        check_scale(line.slope)
    except FitError as error:
        return str(error)
    return ScaleShift(line.slope, line.intercept)


def _resample_average(fits: Sequence[ScaleShift], settings: FitSettings) -> Intervals | None:
    if not fits:
        return None
    pairs = np.array([(fit.scale, fit.shift) for fit in fits])
    random = np.random.default_rng(settings.seed)
    length = block_length(pairs)
    means = [
        pairs[draw_blocks(random, len(pairs), length)].mean(axis=0)
        for _ in range(settings.resamples)
    ]
    return _intervals(np.array(means))


def _check_depths(metric_inverse_depth: Tensor, settings: FitSettings) -> None:
    part = metric_inverse_depth[:: max(metric_inverse_depth.numel() // 100_000, 1)]
    far, near = part.quantile(part.new_tensor((0.05, 0.95))).tolist()
    if near < settings.min_depth_ratio * far:
        raise FitError(
            f"the truth lies between {1.0 / near:.2f} and {1.0 / far:.2f} m (5 % to 95 %), "
            f"expected the far {settings.min_depth_ratio:g} times as far as the near: shift cannot "
            "be told from scale; record near and far things together"
        )


def _pulls(
    x: Tensor, y: Tensor, w: Tensor, line: Line, starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How each frame pulls at a joint line's height and at its slope, [frames, 2].

    The frames' parts of the equations that a fit by Huber's loss solves.
    """
    most = INLIER_SIGMAS * line.sigma
    residual = (w * (line.slope * x + line.intercept - y)).clamp(-most, most)
    pulls = torch.stack((w * residual, w * residual * (x - x.mean())), dim=1).numpy()
    lengths = np.diff(starts, append=len(pulls))
    means: NDArray[np.float64] = np.add.reduceat(pulls, starts) / lengths[:, None]
    return means


def _resample(frames: Sequence[FramePairs], joint: Line, settings: FitSettings) -> Intervals:
    """Intervals of scale and shift, from joint fits to frames drawn anew.

    Draws of nothing but frames that show no line (one value all but everywhere) are left out.
    """
    x, y, w = joined(frames, settings)
    random = np.random.default_rng(settings.seed)
    lengths = np.array([frame.truth_m.size for frame in frames])
    starts = np.cumsum(lengths) - lengths
    each = max(1, min(int(lengths.max()), math.ceil(_RESAMPLED_POINTS / len(frames))))
    length = block_length(_pulls(x, y, w, joint, starts))
    lines: list[Line] = []
    for _ in range(settings.resamples):
        drawn = draw_blocks(random, len(frames), length)
        places = starts[drawn, None] + random.integers(0, lengths[drawn, None], (drawn.size, each))
        chosen = torch.from_numpy(places.ravel())
        with contextlib.suppress(FitError):
            check_points(x[chosen], y[chosen])
            lines.append(fit_line(x[chosen], y[chosen], settings.method, w[chosen]))
    if len(lines) < _LEAST_RESAMPLED * settings.resamples:
        raise FitError(
            f"{settings.resamples - len(lines)} of {settings.resamples} resamples of "
            f"{len(frames)} frames have no line, as the network says one value in whole frames: "
            "record more frames that show something"
        )
    scale, shift = _intervals(np.array([(line.slope, line.intercept) for line in lines]))
    if scale[0] <= 0.0:
        raise FitError(
            f"the scale lies between {scale[0]:.3g} and {scale[1]:.3g} ({CONFIDENCE:.0%} of "
            f"{settings.resamples} resamples of {len(frames)} frames), expected above 0: the "
            "prediction does not tell near from far here; check that pictures and truth belong "
            "together, take a trained model, and record more and more varied frames"
        )
    return scale, shift


def _intervals(resampled: NDArray[np.float64]) -> Intervals:
    """Of scale and shift, [N, 2]."""
    outside = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(resampled, (outside, 100.0 - outside), axis=0).tolist()
    return (low[0], high[0]), (low[1], high[1])
