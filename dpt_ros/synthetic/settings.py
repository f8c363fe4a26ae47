"""What to render, as settings; imports neither torch nor NumPy, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass

from dpt_ros.config import setting

KINDS = ("room", "corridor", "street", "yard")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class SyntheticSettings:
    """What a rendered data set holds."""

    split: str = setting("train", "Stream of seeds; no two share a scene.", choices=SPLITS)
    seed: int = setting(0, "Another seed is another world.", minimum=0, maximum=2**32 - 1)
    kind: str = setting("all", "Kind of scene.", choices=("all", *KINDS))
    frames_per_scene: int = setting(12, "Pictures of each scene.", minimum=1)
    far_m: float = setting(
        80.0, "Depth beyond this is stored as unknown.", unit="m", minimum=1.0, maximum=1000.0
    )


@dataclass(frozen=True)
class RigSettings:
    """Places on the robot, relative to base_link on the ground below it."""

    field_of_view_deg: float = setting(
        70.0, "Horizontal field of view of the camera.", unit="deg", minimum=20.0, maximum=120.0
    )
    camera_forward_m: float = setting(
        0.2, "Camera ahead of base_link.", unit="m", minimum=-2.0, maximum=2.0
    )
    camera_height_m: float = setting(
        0.5, "Camera above the ground.", unit="m", minimum=0.05, maximum=3.0
    )
    camera_pitch_deg: float = setting(
        4.0, "Camera pitched down.", unit="deg", minimum=-30.0, maximum=45.0
    )
    lidar_forward_m: float = setting(
        0.02, "LiDAR ahead of base_link.", unit="m", minimum=-2.0, maximum=2.0
    )
    lidar_height_m: float = setting(
        0.68, "LiDAR above the ground.", unit="m", minimum=0.05, maximum=3.0
    )
    lidar_yaw_deg: float = setting(
        30.0, "LiDAR turned on its mast.", unit="deg", minimum=-180.0, maximum=180.0
    )


@dataclass(frozen=True)
class LidarSettings:
    """A spinning LiDAR: how it samples, and how far off it is."""

    rings: int = setting(32, "Laser rings.", minimum=1, maximum=256)
    steps: int = setting(900, "Directions a turn.", minimum=16, maximum=8192)
    lowest_deg: float = setting(
        -25.0, "Elevation of the lowest ring.", unit="deg", minimum=-89.0, maximum=89.0
    )
    highest_deg: float = setting(
        15.0, "Elevation of the highest ring.", unit="deg", minimum=-89.0, maximum=89.0
    )
    rate_hz: float = setting(10.0, "Turns a second.", unit="Hz", minimum=1.0, maximum=50.0)
    near_m: float = setting(0.3, "Shortest range.", unit="m", minimum=0.0, maximum=10.0)
    far_m: float = setting(60.0, "Longest range.", unit="m", minimum=1.0, maximum=500.0)
    noise_m: float = setting(
        0.02, "Standard deviation of the range.", unit="m", minimum=0.0, maximum=1.0
    )
    dropout: float = setting(0.02, "Share of returns that get lost.", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class BagSettings:
    """What a recorded drive holds."""

    kind: str = setting("street", "Kind of scene.", choices=KINDS)
    seed: int = setting(0, "Another seed is another world.", minimum=0, maximum=2**32 - 1)
    split: str = setting("test", "Stream of seeds; no two share a scene.", choices=SPLITS)
    seconds: float = setting(20.0, "Length of the drive.", unit="s", minimum=0.1, maximum=3600.0)
    rate: float = setting(10.0, "Pictures a second.", unit="Hz", minimum=0.1, maximum=100.0)
    storage: str = setting("mcap", "File format of the recording.", choices=("mcap", "sqlite3"))
    compressed: bool = setting(False, "Record JPEG pictures instead of raw ones.")
    depth: bool = setting(False, "Record the exact depth too, on /camera/depth/image_rect.")
