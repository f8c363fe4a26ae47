"""Where things stand and where the robot can drive: footprints on the ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpt_ros.synthetic.primitives import Floats, Primitives

PASSABLE_HEIGHT_M = 0.06
"""A solid lower than this can be driven over."""

ROBOT_HEIGHT_M = 0.9
"""A solid that starts above this can be driven under."""


@dataclass(frozen=True, eq=False)
class Footprints:
    """Rectangles on the ground: centre [N,2], unit x axis [N,2] and half sizes [N,2], metres."""

    centre: Floats
    axis: Floats
    half: Floats

    def clearance(self, points: Floats) -> Floats:
        """Distance of points [P,2] from the nearest rectangle, [P]; 0 within one."""
        if len(self.centre) == 0:
            return np.full(len(points), np.inf)
        away = points[:, None] - self.centre
        along = np.abs(away[..., 0] * self.axis[:, 0] + away[..., 1] * self.axis[:, 1])
        across = np.abs(away[..., 1] * self.axis[:, 0] - away[..., 0] * self.axis[:, 1])
        outside = np.hypot(
            np.maximum(along - self.half[:, 0], 0), np.maximum(across - self.half[:, 1], 0)
        )
        return np.asarray(outside.min(1))


def footprints(primitives: Primitives) -> Footprints:
    """The rectangles under all solids that a robot would bump into."""
    reach = np.abs(primitives.rotation) @ primitives.half[:, :, None]
    reach = reach[..., 0]
    low, high = primitives.centre[:, 2] - reach[:, 2], primitives.centre[:, 2] + reach[:, 2]
    blocks: NDArray[np.bool_] = (high > PASSABLE_HEIGHT_M) & (low < ROBOT_HEIGHT_M)
    upright = np.abs(primitives.rotation[:, 2, 2]) > 1 - 1e-9
    axis = np.where(upright[:, None], primitives.rotation[:, :2, 0], [1.0, 0.0])
    half = np.where(upright[:, None], primitives.half[:, :2], reach[:, :2])
    return Footprints(primitives.centre[blocks, :2], axis[blocks], half[blocks])


class Placer:
    """Finds room for things: circles that keep a distance from each other.

    Args:
        rng: where the places come from.
        region: (x_min, y_min, x_max, y_max) in metres.
        gap_m: room left between two things.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        region: tuple[float, float, float, float],
        gap_m: float,
    ) -> None:
        self._rng, self._region, self._gap_m = rng, region, gap_m
        self._taken: list[tuple[float, float, float]] = []

    def take(self, x: float, y: float, radius: float) -> bool:
        """Take a circle if it is free."""
        for other_x, other_y, other_radius in self._taken:
            if np.hypot(x - other_x, y - other_y) < radius + other_radius + self._gap_m:
                return False
        self._taken.append((x, y, radius))
        return True

    def find(self, radius: float, attempts: int = 12) -> tuple[float, float] | None:
        """A free circle within the region, taken; None where none was found."""
        x_min, y_min, x_max, y_max = self._region
        if x_max - x_min < 2 * radius or y_max - y_min < 2 * radius:
            return None
        for _ in range(attempts):
            x = float(self._rng.uniform(x_min + radius, x_max - radius))
            y = float(self._rng.uniform(y_min + radius, y_max - radius))
            if self.take(x, y, radius):
                return x, y
        return None
