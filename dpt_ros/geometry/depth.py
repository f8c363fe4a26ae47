"""Inverse depth to depth in metres (REP 117, REP 118) and to millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dpt_ros.config import setting
from dpt_ros.geometry.scale_shift import ScaleShift

MAX_MILLIMETRES = 65535
"""The largest depth that a 16UC1 image can hold."""


@dataclass(frozen=True)
class DepthLimits:
    """The range in which depth counts as measured, both ends included.

    Raises:
        ValueError: near is not smaller than far.
    """

    near_m: float = setting(
        0.1,
        "Depth nearer than this, or than a calibration's near_m where that is larger, is published "
        "as -Inf (REP 117), and is no point.",
        unit="m",
        minimum=0.001,
        maximum=1e6,
    )
    far_m: float = setting(
        100.0,
        "Depth beyond this, or beyond a calibration's far_m where that is smaller, is published as "
        "+Inf (REP 117), and is no point.",
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
    inverse_depth: torch.Tensor,
    scale_shift: ScaleShift,
    limits: DepthLimits,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Depth along the optical axis: `1 / (scale * inverse_depth + shift)`.

    Args:
        inverse_depth: relative inverse depth, any shape, floating point.
        scale_shift: what makes it metric.
        limits: the range that counts as measured.
        out: where the result goes, of the same shape and type; None makes a tensor for it.

    Returns:
        depth_m, the same shape: metres; +Inf beyond `far_m` or where the metric inverse depth is
        not positive (infinitely far), -Inf nearer than `near_m`, NaN where the input is NaN
        (REP 117).
    """
    # Thresholds instead of masks: a quarter of the time on a CPU. They replace what is not greater,
    # let NaN pass, and turn every inverse depth below 1 / far_m into 0, whose reciprocal is +Inf.
    depth_m = scale_shift.apply(inverse_depth, out)
    torch.threshold_(depth_m, _just_below(1.0 / limits.far_m, depth_m), 0.0).reciprocal_()
    return torch.threshold_(depth_m, _just_below(limits.near_m, depth_m), -torch.inf)


def depth_to_millimetres(depth_m: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """Depth in metres, any shape -> uint16 millimetres, rounded; 0 is invalid (REP 118).

    Of any floating type. NaN, infinities, negative depths and depths that a uint16 can't hold
    (65.5355 m and more) become 0. Written to `out`, uint16 of the same shape, if that is given.
    """
    millimetres = depth_m.new_empty(depth_m.shape, dtype=torch.uint16) if out is None else out
    is_for_cv2 = depth_m.dtype in (torch.float32, torch.float64) and depth_m.numel() > 0
    if depth_m.device.type == "cpu" and depth_m.ndim and is_for_cv2 and millimetres.is_contiguous():
        _to_millimetres_cpu(depth_m.detach(), millimetres)
        return millimetres
    if not is_for_cv2:
        depth_m = depth_m.float()  # half precision cannot hold the millimetres of 65 m
    whole = (depth_m * 1000.0).nan_to_num_(nan=0.0).round_()
    # One more than fits becomes 0 in the last conversion.
    return millimetres.copy_(whole.clamp_(0.0, MAX_MILLIMETRES + 1.0).to(torch.int32))


def _to_millimetres_cpu(depth_m: torch.Tensor, millimetres: torch.Tensor) -> None:
    """The same with cv2, which rounds and saturates in one pass: two thirds of the time."""
    import cv2

    rows = depth_m.reshape(-1, depth_m.shape[-1]).numpy()
    target = millimetres.view(rows.shape).numpy()
    farthest_m = _just_below((MAX_MILLIMETRES + 0.5) / 1000.0, depth_m)
    # What is too far becomes 0 here; what is negative or no number, where cv2 saturates.
    _, near = cv2.threshold(rows, farthest_m, 0.0, cv2.THRESH_TOZERO_INV)
    cv2.addWeighted(near, 1000.0, near, 0.0, 0.0, dst=target, dtype=cv2.CV_16U)


def _just_below(value: float, like: torch.Tensor) -> float:
    """The largest number of the tensor's type that is smaller than `value` is in that type."""
    rounded = torch.tensor(value, dtype=like.dtype, device="cpu")
    return float(torch.nextafter(rounded, torch.zeros_like(rounded)))
