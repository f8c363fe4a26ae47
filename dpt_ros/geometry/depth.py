"""Inverse depth to depth in metres (REP 117, REP 118) and to millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dpt_ros.config import setting
from dpt_ros.geometry.scale_shift import ScaleShift

MAX_MILLIMETRES = 65535
"""The largest depth that a 16UC1 image can hold."""

# Inverse depth is held above this, 1/m, so that its reciprocal is finite and beyond any far limit.
_MIN_METRIC_INVERSE_DEPTH = 1e-30


@dataclass(frozen=True)
class DepthLimits:
    """The range in which depth counts as measured, both ends included.

    Raises:
        ValueError: near is not smaller than far.
    """

    near_m: float = setting(
        0.1,
        "Depth nearer than this is published as -Inf (REP 117).",
        unit="m",
        minimum=0.001,
        maximum=1e6,
    )
    far_m: float = setting(
        100.0,
        "Depth beyond this is published as +Inf (REP 117).",
        unit="m",
        minimum=0.001,
        maximum=1e6,
    )

    def __post_init__(self) -> None:
        if not 0.001 <= self.near_m < self.far_m <= 1e6:
            raise ValueError(
                f"depth limits: got near_m={self.near_m}, far_m={self.far_m}, "
                "expected 0.001 <= near_m < far_m <= 1e6"
            )


def inverse_depth_to_depth(
    inverse_depth: torch.Tensor, scale_shift: ScaleShift, limits: DepthLimits
) -> torch.Tensor:
    """Depth along the optical axis: `1 / (scale * inverse_depth + shift)`.

    Args:
        inverse_depth: relative inverse depth, any shape, floating point.
        scale_shift: what makes it metric.
        limits: the range that counts as measured.

    Returns:
        depth_m, the same shape: metres; +Inf beyond `far_m` or where the metric inverse depth is
        not positive (infinitely far), -Inf nearer than `near_m`, NaN where the input is NaN
        (REP 117).
    """
    depth_m = scale_shift.apply(inverse_depth)
    depth_m.clamp_(min=_MIN_METRIC_INVERSE_DEPTH).reciprocal_()
    is_far, is_near = depth_m > limits.far_m, depth_m < limits.near_m
    depth_m.masked_fill_(is_far, torch.inf).masked_fill_(is_near, -torch.inf)
    return depth_m


def depth_to_millimetres(depth_m: torch.Tensor) -> torch.Tensor:
    """Depth in metres, any shape -> uint16 millimetres, rounded; 0 is invalid (REP 118).

    NaN, infinities and depths that a uint16 can't hold (65.5355 m and more) become 0.
    """
    millimetres = torch.nan_to_num(depth_m * 1000.0, nan=0.0, posinf=0.0, neginf=0.0).round_()
    millimetres.masked_fill_((millimetres < 0) | (millimetres > MAX_MILLIMETRES), 0.0)
    return millimetres.to(torch.int32).to(torch.uint16)
