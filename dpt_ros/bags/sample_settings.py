"""What of a recording becomes samples, and how: topics, gaps, frames, masks."""

from __future__ import annotations

from dataclasses import dataclass, field

from dpt_ros.config import setting
from dpt_ros.geometry.lidar_settings import LidarSettings


@dataclass(frozen=True)
class SampleSettings:
    """What of a recording becomes samples, and how."""

    image_topic: str = setting("", "The camera's pictures; may be left out where there is one.")
    camera_info_topic: str = setting("", "Its calibration; else the one beside the pictures.")
    points_topic: str = setting("", "The LiDAR's points; may be left out where there is one.")
    odometry_topic: str = setting("", "The robot's odometry; may be left out where there is one.")
    pictures: str = setting(
        "auto",
        "Whether pictures are rectified (P of camera_info applies) or raw (K and D); auto: "
        "rectified where the topic's name has the word rect or rectified in it.",
        choices=("auto", "rectified", "raw"),
    )
    max_gap_s: float = setting(
        0.05,
        "Largest time between a picture and its scan.",
        unit="s",
        minimum=0.0,
        maximum=10.0,
    )
    interval_s: float = setting(
        0.0, "Least time between two samples; 0 takes every scan.", unit="s", minimum=0.0
    )
    min_points: int = setting(
        50, "Pictures with fewer points are left out.", minimum=1, maximum=1_000_000
    )
    camera_frame: str = setting("", "The camera's optical frame, where the pictures do not say.")
    lidar_frame: str = setting("", "The LiDAR's frame, where the points do not say.")
    transforms: str = setting(
        "", "YAML file of fixed transforms, which replace those of the recording."
    )
    motion_compensation: bool = setting(
        True, "Undo the robot's own movement, where odometry or /tf tells it."
    )
    fixed_frame: str = setting(
        "", "The frame that stands still for that; else odom, or the odometry's own."
    )
    body_box: str = setting(
        "",
        "Leave out points in the robot's body: 'FRAME X0 X1 Y0 Y1 Z0 Z1', several with ';'.",
        unit="m",
    )
    body_polygon: str = setting(
        "",
        "Leave out the robot's body in the picture: 'U0 V0, U1 V1, U2 V2', several with ';'.",
        unit="px",
    )
    lidar: LidarSettings = field(default_factory=LidarSettings)
