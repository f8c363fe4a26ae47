"""A spinning LiDAR on the moving robot, cast against the same solids as the picture.

A turn begins behind the sensor and goes counter-clockwise seen from above. Each point is given in
the LiDAR's frame at its own time, as drivers give it: whoever wants all of them at one time has to
undo the robot's movement. Directions are exact for each step; the sensor's place is updated
`_PARTS` times a turn, which at 1 m/s and 10 Hz is off by 3 mm at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dpt_ros.synthetic.casting import cast
from dpt_ros.synthetic.drive import Trajectory
from dpt_ros.synthetic.primitives import Floats
from dpt_ros.synthetic.ray_grids import SpinGrid
from dpt_ros.synthetic.scene import Scene
from dpt_ros.synthetic.settings import LidarSettings

_PARTS = 16


@dataclass(frozen=True, eq=False)
class Scan:
    """One turn's points, in the order of their time.

    Args:
        stamp_ns: when the turn began.
        xyz: float32 [N,3] metres in the LiDAR's frame at each point's own time.
        intensity: float32 [N], 0 to 255.
        ring: uint16 [N], 0 the lowest.
        time_s: float32 [N], since `stamp_ns`.
    """

    stamp_ns: int
    xyz: NDArray[np.float32]
    intensity: NDArray[np.float32]
    ring: NDArray[np.uint16]
    time_s: NDArray[np.float32]


class Lidar:
    """A LiDAR in a scene.

    Args:
        scene: what it sees.
        settings: how it samples.
        transform_base_lidar: [4,4], takes a point of its frame to base_link.

    Raises:
        ValueError: the lowest ring is above the highest, or near_m beyond far_m.
    """

    def __init__(self, scene: Scene, settings: LidarSettings, transform_base_lidar: Floats) -> None:
        if settings.lowest_deg > settings.highest_deg or settings.near_m >= settings.far_m:
            raise ValueError(
                f"got rings from {settings.lowest_deg} to {settings.highest_deg} deg and ranges "
                f"from {settings.near_m} to {settings.far_m} m, expected the lower value first"
            )
        self._scene, self._settings, self._mount = scene, settings, transform_base_lidar
        self._elevation = np.radians(
            np.linspace(settings.lowest_deg, settings.highest_deg, settings.rings)
        )
        self._brightness = scene.primitives.tint.mean(1)

    def scan(self, path: Trajectory, start_s: float, seed: int) -> Scan:
        """One turn.

        Args:
            path: how the robot moves; has to last until the end of the turn.
            start_s: when the turn begins.
            seed: decides noise and dropout.
        """
        settings = self._settings
        steps = np.arange(settings.steps)
        azimuth = -math.pi + 2 * math.pi * steps / settings.steps
        time_s = steps / settings.steps / settings.rate_hz
        parts = [
            self._part(path, start_s, azimuth[part], time_s[part])
            for part in np.array_split(steps, min(_PARTS, settings.steps))
        ]
        range_m, solid, facing = (np.concatenate(arrays, 1) for arrays in zip(*parts, strict=True))
        rng = np.random.default_rng(seed)
        intensity = 255.0 * self._brightness[solid] * facing
        noisy = range_m + rng.normal(0.0, settings.noise_m, range_m.shape)
        kept = (solid >= 0) & (range_m >= settings.near_m) & (range_m <= settings.far_m)
        kept &= rng.random(range_m.shape) >= settings.dropout
        directions = SpinGrid(self._elevation, azimuth).directions()
        step, ring = np.nonzero(kept.T)
        return Scan(
            round(start_s * 1e9),
            (directions[ring, step] * noisy[ring, step, None]).astype(np.float32),
            np.clip(intensity[ring, step], 0, 255).astype(np.float32),
            ring.astype(np.uint16),
            time_s[step].astype(np.float32),
        )

    def _part(
        self, path: Trajectory, start_s: float, azimuth: Floats, time_s: Floats
    ) -> tuple[Floats, NDArray[np.int64], Floats]:
        """Ranges, solids and how squarely each is hit, [rings, steps], of some of the steps."""
        middle_s = start_s + float(time_s.mean())
        pose = path.pose_at(middle_s) @ self._mount
        _, turn_rate = path.velocity_at(middle_s)
        turned = azimuth + turn_rate * (start_s + time_s - middle_s)
        grid = SpinGrid(self._elevation, turned)
        with torch.inference_mode():
            hits = cast(self._scene.primitives, grid, pose)
        inverse = hits.inverse.numpy().astype(np.float64)
        range_m = np.divide(1.0, inverse, out=np.zeros_like(inverse), where=inverse > 0)
        return range_m, hits.solid.numpy(), _facing(grid, range_m)


def _facing(grid: SpinGrid, range_m: Floats) -> Floats:
    """Cosine of the angle of incidence, from the range's change along the ring, 0 to 1."""
    step = np.diff(grid.azimuth_rad).mean() if grid.shape[1] > 1 else 1.0
    change = np.gradient(range_m, axis=1) if grid.shape[1] > 1 else np.zeros_like(range_m)
    slope = change / np.maximum(range_m * step, 1e-9)
    return np.asarray(1.0 / np.sqrt(1.0 + slope**2))
