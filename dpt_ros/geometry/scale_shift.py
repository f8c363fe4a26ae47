"""Scale and shift: the two numbers that turn relative inverse depth into metres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.geometry.fit import MIN_POINTS, FitError, fit_line
from dpt_ros.geometry.fit_methods import FIT_METHODS

__all__ = ["FIT_METHODS", "FitError", "ScaleShift", "fit_scale_shift"]

MIN_SPREAD = 0.01
"""Spread of the truth (5th to 95th percentile, by its median) below which shift is not seen."""

_MIN_PREDICTED_SPREAD = 1e-4
_SPREAD_POINTS = 20_000


@dataclass(frozen=True)
class ScaleShift:
    """What makes inverse depth metric (Ranftl et al., MiDaS, 2020).

    `metric_inverse_depth = scale * inverse_depth + shift`, in 1/m.

    Raises:
        ValueError: one of the two is not finite.
    """

    scale: float
    shift: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and math.isfinite(self.shift)):
            raise ValueError(f"got scale {self.scale} and shift {self.shift}, expected finite ones")

    def apply(self, inverse_depth: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Inverse depth of any shape -> metric inverse depth in 1/m; the input is left as it is.

        The result is written to `out`, of the same shape and type, if that is given.
        """
        # A number of the CPU goes with tensors of any device.
        shift = torch.tensor(self.shift, dtype=inverse_depth.dtype, device="cpu")
        # One pass over the image.
        return torch.add(shift, inverse_depth, alpha=self.scale, out=out)


def average_scale_shift(pairs: Sequence[ScaleShift]) -> ScaleShift:
    """The mean scale and the mean shift of one pair or more (DPT, section 4.1)."""
    scale = math.fsum(pair.scale for pair in pairs) / len(pairs)
    return ScaleShift(scale, math.fsum(pair.shift for pair in pairs) / len(pairs))


def depth_within(
    metric_inverse_depth: NDArray[np.float64], nearest_m: float, farthest_m: float
) -> NDArray[np.float64]:
    """Metric inverse depth in 1/m, any shape, to depth in metres, clamped to two limits.

    What is 0 or negative is infinitely far, and NaN stays NaN.
    """
    return np.reciprocal(np.clip(metric_inverse_depth, 1.0 / farthest_m, 1.0 / nearest_m))


def fit_scale_shift(
    inverse_depth: NDArray[np.floating] | torch.Tensor,
    metric_inverse_depth: NDArray[np.floating] | torch.Tensor,
    valid: NDArray[np.bool_] | torch.Tensor,
    method: str = "robust",
) -> ScaleShift:
    """The scale and shift that bring inverse depth to metric inverse depth.

    Every valid pixel weighs the same in 1/m, which favours what is near. The methods are described
    at `dpt_ros.geometry.fit.fit_line`.

    Args:
        inverse_depth: what the network says, any shape, tensor of any device or array of any byte
            order and strides.
        metric_inverse_depth: the truth in 1/m, the same shape.
        valid: bool, the same shape: the pixels that count.
        method: one of `FIT_METHODS`.

    Raises:
        FitError: what cannot be fitted: too few points, values that are not finite, no spread, or
            a scale that is not positive.
        ValueError: shapes that differ, or a method that is not known.
    """
    x, y, mask = (_as_tensor(v) for v in (inverse_depth, metric_inverse_depth, valid))
    if not x.shape == y.shape == mask.shape or mask.dtype != torch.bool:
        raise ValueError(
            f"got inverse_depth {tuple(x.shape)}, metric_inverse_depth {tuple(y.shape)} and valid "
            f"{tuple(mask.shape)} ({mask.dtype}), expected one shape, and bool for valid"
        )
    x, y = (_chosen(values, mask) for values in (x, y))
    check_points(x, y)
    line = fit_line(x, y, method, with_sigma=False)
    check_scale(line.slope)
    return ScaleShift(line.slope, line.intercept)


def check_points(inverse_depth: torch.Tensor, metric_inverse_depth: torch.Tensor) -> None:
    """Refuse points that show no scale and shift.

    Args:
        inverse_depth: what the network says, [N].
        metric_inverse_depth: the truth in 1/m, [N].

    Raises:
        FitError: too few points, values that are not finite, or no spread.
    """
    count = inverse_depth.numel()
    if count < MIN_POINTS:
        raise FitError(
            f"got {count} valid points, expected at least {MIN_POINTS}: record with the camera "
            "facing what the range sensor sees"
        )
    named = (("inverse_depth", inverse_depth), ("metric_inverse_depth", metric_inverse_depth))
    for name, values in named:
        if not values.sum().isfinite():
            wrong = count - int(values.isfinite().sum())
            raise FitError(
                f"{name}: {wrong} of {count} valid points are not finite; take them out of valid"
            )
    low, middle, high = _percentiles(metric_inverse_depth)
    if not high - low > MIN_SPREAD * abs(middle):
        raise FitError(
            f"the truth lies between {low:.4g} and {high:.4g} 1/m (5th to 95th percentile), "
            f"expected a spread of more than {MIN_SPREAD:.0%}: with everything at one distance "
            "shift cannot be told from scale; record near and far things together"
        )
    low, _, high = _percentiles(inverse_depth)
    if not high - low > _MIN_PREDICTED_SPREAD * max(abs(low), abs(high)):
        raise FitError(
            f"the prediction lies between {low:.6g} and {high:.6g} (5th to 95th percentile): it "
            "does not tell near from far; use a trained model, and pictures that show something"
        )


def check_scale(scale: float) -> None:
    """Refuse a fitted scale that is not positive.

    Raises:
        FitError: near and far are swapped, or unrelated.
    """
    if not scale > 0.0:
        raise FitError(
            f"got scale {scale:.4g}, expected above 0: where the prediction says nearer, the truth "
            "says farther; check that the picture and its truth belong together (time, camera, "
            "transform) and that the model is trained, and record near and far things together"
        )


def _as_tensor(values: NDArray[np.generic] | torch.Tensor) -> torch.Tensor:
    """The same values; torch takes arrays of the machine's byte order that may be written to."""
    if isinstance(values, torch.Tensor):
        return values
    array = np.asarray(values)
    return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ("C", "W")))


def _chosen(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The chosen values as float64 [N] on the CPU."""
    values = values.detach()
    return (values.flatten() if bool(mask.all()) else values[mask]).double().cpu()


def _percentiles(values: torch.Tensor) -> tuple[float, float, float]:
    """The 5th, 50th and 95th percentile, of evenly spread points where there are very many."""
    part = values[:: max(values.numel() // _SPREAD_POINTS, 1)]
    # NumPy's looks for three values; torch's sorts all of them.
    low, middle, high = np.quantile(part.numpy(), (0.05, 0.5, 0.95)).tolist()
    return low, middle, high
