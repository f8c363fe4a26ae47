"""The node's settings: what becomes its ROS parameters. Knows no rclpy."""

from __future__ import annotations

import dataclasses

from dpt_ros.config import setting
from dpt_ros.geometry.depth import DepthLimits
from dpt_ros.geometry.point_cloud import PointCloudSettings
from dpt_ros.inference.colormap import ColormapSettings
from dpt_ros.inference.settings import InferenceSettings

IMAGE_TRANSPORTS = ("raw", "compressed")


@dataclasses.dataclass(frozen=True)
class NodeSettings(InferenceSettings):
    """Parameters of the node `dpt`; the first ones are those of every predictor."""

    calibration: str = setting(
        "",
        "calibration.yaml that turns inverse depth into metres; `bundled`: the one that comes "
        "with the model; empty: none, so metres only from a model that gives them itself.",
        fixed=True,
    )
    image_transport: str = setting(
        "raw",
        "How images arrive: raw on `image_rect`, compressed (JPEG or PNG) on "
        "`image_rect/compressed`.",
        choices=IMAGE_TRANSPORTS,
        fixed=True,
    )
    autostart: bool = setting(
        True,
        "Whether the node configures and activates itself when it starts.",
        fixed=True,
    )
    rectified: bool = setting(
        True,
        "Whether the images are rectified: true reads the camera from P of camera_info, false "
        "from K and D (points are then undistorted; depth stays in the raw image's pixels).",
    )
    max_age_s: float = setting(
        0.0,
        "Images older than this when their turn comes are dropped as stale; 0: none are.",
        unit="s",
        minimum=0.0,
        maximum=3600.0,
    )
    publish_millimetres: bool = setting(
        False,
        "Whether to offer `~/depth/image_raw` as well: depth as 16UC1 in millimetres.",
    )
    depth: DepthLimits = dataclasses.field(default_factory=DepthLimits)
    color: ColormapSettings = dataclasses.field(default_factory=ColormapSettings)
    points: PointCloudSettings = dataclasses.field(default_factory=PointCloudSettings)
