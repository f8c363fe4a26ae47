"""Lens distortion as ROS and OpenCV define it, and its inverse. Knows coordinates, no pixels.

Coordinates are those of the plane z = 1: (x/z, y/z) of a ray before ("ideal") and after
("distorted") the lens. A distortion polynomial is only meant for the lens's field of view; beyond
it, it folds over, so that two rays fall on one pixel. Both directions say NaN there (`distort`
with an exception).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

COEFFICIENT_COUNTS: dict[str, tuple[int, ...]] = {
    "none": (0,),
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
"""The distortion models of sensor_msgs/CameraInfo and how many coefficients each takes."""

# Rays further than this from the optical axis have no usable (x/z, y/z).
_MAX_ANGLE_DEG = 89.5
_TABLE_SIZE = 8192
_CHUNK_SIZE = 1 << 15
_MAX_ITERATIONS = 30
_TOLERANCE = 1e-10


class Distortion:
    """One lens: a distortion model with its coefficients.

    plumb_bob (k1 k2 p1 p2 [k3]) and rational_polynomial (k1 k2 p1 p2 k3 k4 k5 k6 [s1 s2 s3 s4
    [taux tauy]]) are OpenCV's pinhole model, equidistant (k1 k2 k3 k4) is OpenCV's fisheye model
    (Kannala and Brandt, 2006), with OpenCV's order of the coefficients.

    Raises:
        ValueError: an unknown model, another number of coefficients, or one that is not finite.
    """

    def __init__(self, model: str, coefficients: Sequence[float]) -> None:
        _check(model, coefficients)
        self._is_fisheye = model == "equidistant"
        self.is_identity = not self._is_fisheye and not any(coefficients)
        self._coefficients = [*coefficients, *([0.0] * (14 - len(coefficients)))]
        self._tilt = None if self._is_fisheye else _tilt_matrix(*self._coefficients[12:])
        self._max_radius, self._table = math.inf, torch.empty(0, device="cpu")
        if not self.is_identity:
            self._measure_field_of_view()

    def distort(self, ideal: torch.Tensor) -> torch.Tensor:
        """Ideal -> distorted coordinates, [..., 2]; NaN where the model has folded over.

        Beyond a fold that tangential terms or prisms carry inwards, some points may still get
        coordinates: where the model has folded a second time within the radial part's field.
        """
        if self.is_identity:
            return ideal
        x, y = ideal.unbind(-1)
        if self._is_fisheye:
            radius = torch.hypot(x, y)
            gain = self._radial(torch.atan(radius)) / radius
            gain = torch.where(radius < 1e-8, torch.ones_like(gain), gain)
            distorted = torch.stack((x * gain, y * gain), -1)
            is_valid = radius <= self._max_radius
        else:
            distorted, jacobian = self._pinhole(x, y)
            is_valid = (torch.hypot(x, y) <= self._max_radius) & (_determinant(jacobian) > 0)
            if self._tilt is not None:
                distorted = _project_through(self._tilt, distorted)
        return torch.where(is_valid[..., None], distorted, torch.nan)

    def undistort(self, distorted: torch.Tensor) -> torch.Tensor:
        """Distorted -> ideal coordinates, [..., 2] float64; NaN where no ray falls on them.

        Solved by Newton's method from the radial part's table of values, until it agrees with
        `distort` to 1e-10.
        """
        distorted = distorted.to(torch.float64)
        if self.is_identity:
            return distorted
        flat = distorted.reshape(-1, 2)
        solve = self._undistort_fisheye if self._is_fisheye else self._undistort_pinhole
        ideal = torch.full_like(flat, torch.nan)
        # Tangential terms and prisms may carry a ray a little beyond the radial part's end.
        reachable = (self._untilted(flat).norm(dim=-1) <= 1.05 * self._table[0, -1]).nonzero()[:, 0]
        for start in range(0, len(reachable), _CHUNK_SIZE):
            chosen = reachable[start : start + _CHUNK_SIZE]
            ideal[chosen] = solve(flat[chosen])
        return ideal.reshape(distorted.shape)

    def _measure_field_of_view(self) -> None:
        """Tabulate the radial part over the ray's angle, up to where it stops growing."""
        largest = math.radians(_MAX_ANGLE_DEG)
        angle = torch.linspace(0.0, largest, _TABLE_SIZE, dtype=torch.float64, device="cpu")
        radius = angle if self._is_fisheye else torch.tan(angle)
        value = self._radial(radius)
        grows = value[1:] > value[:-1]
        count = _TABLE_SIZE if bool(grows.all()) else int(grows.int().argmin()) + 1
        self._table = torch.stack((value[:count], radius[:count]))
        self._max_radius = math.tan(float(angle[count - 1]))

    def _radial(self, radius: torch.Tensor) -> torch.Tensor:
        """The radial part alone: distorted radius of an ideal radius (of an angle, if fisheye)."""
        u = radius * radius
        if self._is_fisheye:
            k1, k2, k3, k4 = self._coefficients[:4]
            return radius * (1.0 + u * (k1 + u * (k2 + u * (k3 + u * k4))))
        k1, k2, _, _, k3, k4, k5, k6 = self._coefficients[:8]
        denominator = 1.0 + u * (k4 + u * (k5 + u * k6))
        gain = (1.0 + u * (k1 + u * (k2 + u * k3))) / denominator
        # Past a pole of the denominator the values are meaningless: end the table there.
        return torch.where(torch.cummin(denominator, -1).values > 0, radius * gain, -torch.inf)

    def _start_radius(self, distorted_radius: torch.Tensor) -> torch.Tensor:
        """Ideal radius (angle, if fisheye) from the table, linear in between, held at its end."""
        values, radii = self._table
        after = torch.searchsorted(values, distorted_radius.contiguous())
        after = after.clamp_(1, len(values) - 1)
        low, high = values[after - 1], values[after]
        share = ((distorted_radius - low) / (high - low)).clamp_(0.0, 1.0)
        return torch.lerp(radii[after - 1], radii[after], share)

    def _undistort_fisheye(self, distorted: torch.Tensor) -> torch.Tensor:
        x, y = distorted.unbind(-1)
        target = torch.hypot(x, y)
        angle = self._start_radius(target)
        k1, k2, k3, k4 = self._coefficients[:4]
        for _ in range(_MAX_ITERATIONS):
            error = self._radial(angle) - target
            if bool((error.abs() < _TOLERANCE).all()):
                break
            u = angle * angle
            slope = 1.0 + u * (3.0 * k1 + u * (5.0 * k2 + u * (7.0 * k3 + u * 9.0 * k4)))
            angle = (angle - error / slope).clamp(0.0, math.radians(_MAX_ANGLE_DEG))
        is_valid = (self._radial(angle) - target).abs() < _TOLERANCE
        is_valid &= angle <= math.atan(self._max_radius)
        gain = torch.where(target < 1e-8, torch.ones_like(target), torch.tan(angle) / target)
        ideal = torch.stack((x * gain, y * gain), -1)
        return torch.where(is_valid[..., None], ideal, torch.nan)

    def _undistort_pinhole(self, distorted: torch.Tensor) -> torch.Tensor:
        distorted = self._untilted(distorted)
        target_x, target_y = distorted.unbind(-1)
        target = torch.hypot(target_x, target_y)
        gain = self._start_radius(target) / target
        gain = torch.where(target < 1e-8, torch.ones_like(gain), gain)
        x, y = target_x * gain, target_y * gain
        limit = 1.1 * float(self._table[1, -1])
        active = torch.arange(len(x), device=x.device)
        for _ in range(_MAX_ITERATIONS):
            at_x, at_y = x[active], y[active]
            value, jacobian = self._pinhole(at_x, at_y)
            error_x, error_y = (distorted[active] - value).unbind(-1)
            xx, xy, yx, yy = jacobian
            determinant = _determinant(jacobian)
            step_x = (yy * error_x - xy * error_y) / determinant
            step_y = (xx * error_y - yx * error_x) / determinant
            x[active] = (at_x + step_x).clamp_(-limit, limit)
            y[active] = (at_y + step_y).clamp_(-limit, limit)
            active = active[torch.maximum(error_x.abs(), error_y.abs()) >= _TOLERANCE]
            if len(active) == 0:
                break
        value, jacobian = self._pinhole(x, y)
        is_valid = (value - distorted).abs().amax(-1) < _TOLERANCE
        is_valid &= (_determinant(jacobian) > 0) & (torch.hypot(x, y) <= self._max_radius)
        return torch.where(is_valid[..., None], torch.stack((x, y), -1), torch.nan)

    def _untilted(self, distorted: torch.Tensor) -> torch.Tensor:
        if self._tilt is None:
            return distorted
        return _project_through(torch.linalg.inv(self._tilt), distorted)

    def _pinhole(
        self, x: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """OpenCV's pinhole distortion before the tilt, and its Jacobian (xx, xy, yx, yy)."""
        k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = self._coefficients[:12]
        u = x * x + y * y
        numerator = 1.0 + u * (k1 + u * (k2 + u * k3))
        inverse = 1.0 / (1.0 + u * (k4 + u * (k5 + u * k6)))
        gain = numerator * inverse
        slope = k1 + u * (2.0 * k2 + u * 3.0 * k3)
        slope = (slope - gain * (k4 + u * (2.0 * k5 + u * 3.0 * k6))) * (2.0 * inverse)
        cross = 2.0 * x * y
        value_x = x * gain + p1 * cross + p2 * (u + 2.0 * x * x) + u * (s1 + s2 * u)
        value_y = y * gain + p1 * (u + 2.0 * y * y) + p2 * cross + u * (s3 + s4 * u)
        shared = x * y * slope + 2.0 * (p1 * x + p2 * y)
        prism_x, prism_y = 2.0 * (s1 + 2.0 * s2 * u), 2.0 * (s3 + 2.0 * s4 * u)
        jacobian = (
            gain + x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x + prism_x * x,
            shared + prism_x * y,
            shared + prism_y * x,
            gain + y * y * slope + 6.0 * p1 * y + 2.0 * p2 * x + prism_y * y,
        )
        return torch.stack((value_x, value_y), -1), jacobian


def _check(model: str, coefficients: Sequence[float]) -> None:
    if model not in COEFFICIENT_COUNTS:
        raise ValueError(
            f"distortion model: got {model!r}, expected one of {', '.join(COEFFICIENT_COUNTS)}"
        )
    counts = COEFFICIENT_COUNTS[model]
    if len(coefficients) not in counts:
        raise ValueError(
            f"distortion model {model!r}: got {len(coefficients)} coefficients, "
            f"expected {' or '.join(map(str, counts))}"
        )
    if not all(math.isfinite(value) for value in coefficients):
        raise ValueError(f"distortion: got {tuple(coefficients)}, expected finite coefficients")


def _determinant(jacobian: tuple[torch.Tensor, ...]) -> torch.Tensor:
    xx, xy, yx, yy = jacobian
    return xx * yy - xy * yx


def _tilt_matrix(tau_x: float, tau_y: float) -> torch.Tensor | None:
    """The homography [3,3] of a sensor tilted against the lens (OpenCV, Scheimpflug)."""
    if tau_x == 0.0 and tau_y == 0.0:
        return None
    cos_x, sin_x, cos_y, sin_y = (
        math.cos(tau_x),
        math.sin(tau_x),
        math.cos(tau_y),
        math.sin(tau_y),
    )
    about_x = np.array([[1, 0, 0], [0, cos_x, sin_x], [0, -sin_x, cos_x]])
    about_y = np.array([[cos_y, 0, -sin_y], [0, 1, 0], [sin_y, 0, cos_y]])
    rotation = about_y @ about_x
    r02, r12, r22 = rotation[:, 2]
    return torch.from_numpy(np.array([[r22, 0, -r02], [0, r22, -r12], [0, 0, 1]]) @ rotation)


def _project_through(homography: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Plane coordinates [..., 2] through a homography [3, 3]."""
    matrix = homography.to(points)
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped[..., :2] / mapped[..., 2:]
