"""Which LiDAR points count as what a camera sees. No torch, so that a command line is quick."""

from __future__ import annotations

from dataclasses import dataclass

from dpt_ros.config import setting


@dataclass(frozen=True)
class LidarSettings:
    """Which points count as what the camera sees.

    LiDAR and camera sit apart, so the LiDAR sees surfaces that for the camera are hidden behind
    nearer ones, and such points show through the gaps between the points of the nearer surface.

    Raises:
        ValueError: a range that is empty.
    """

    near_m: float = setting(
        0.1, "Points nearer to the camera than this are left out.", unit="m", minimum=0.0
    )
    far_m: float = setting(
        200.0, "Points further from the camera than this are left out.", unit="m", minimum=0.0
    )
    occlusion_window_m: float = setting(
        0.06,
        "A point hides those behind it within this distance from it: half the distance between "
        "the LiDAR's rings on a near surface; 0 keeps all points.",
        unit="m",
        minimum=0.0,
        maximum=10.0,
    )
    occlusion_window_max_px: int = setting(
        8, "That distance in the picture is at most this.", unit="px", minimum=0, maximum=100
    )
    occlusion_step: float = setting(
        0.25,
        "A point is hidden where its depth is greater than the nearer one's by this fraction. "
        "Below the window's size divided by the camera's height, floors would hide themselves.",
        minimum=0.0,
        maximum=10.0,
    )

    def __post_init__(self) -> None:
        if not self.near_m < self.far_m:
            raise ValueError(
                f"LiDAR: got near_m={self.near_m}, far_m={self.far_m}, expected near_m < far_m"
            )
