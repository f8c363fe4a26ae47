"""The topics of one camera, and of its evaluation: their names and what they carry."""

from __future__ import annotations

import dataclasses

from sensor_msgs.msg import CameraInfo, Image, PointCloud2

OUTPUTS = {
    "inverse_depth": ("inverse_depth/image", Image),
    "depth": ("depth/image_rect", Image),
    "depth_info": ("depth/camera_info", CameraInfo),
    "depth_mm": ("depth/image_raw", Image),
    "color": ("color/image", Image),
    "points": ("points", PointCloud2),
}
"""Output -> topic below the camera's prefix, and type."""

SCORES = {
    "error_points": ("error_points", PointCloud2),
    "truth": ("truth/image_rect", Image),
    "error": ("error/image", Image),
}
"""Output of the evaluator -> topic below its name, and type."""

MEANINGS = {
    "inverse_depth": "32FC1: what the network says, relative, no unit; larger is nearer. Always.",
    "depth": "32FC1: metres along the optical axis; NaN invalid, +Inf beyond the limits in force, "
    "-Inf nearer (REP 117, REP 118): `depth.near_m` to `depth.far_m`, within the calibration's "
    "range; diagnostics tell them. With metres and camera_info.",
    "depth_info": "The camera of `depth/image_rect`, of its size. For rectified images.",
    "depth_mm": "16UC1: millimetres, 0 is invalid. With metres and `publish_millimetres`.",
    "color": "rgb8: inverse depth as colours, near is bright. Always.",
    "points": "Organised cloud of x, y, z (metres, the camera's optical frame) and rgb; NaN where "
    "depth is invalid or outside of the limits in force, and at flying pixels "
    "(`points.edge_removal`). With metres and camera_info.",
}
"""Output -> what it carries and when it is published."""

NEEDS_METRES = frozenset({"depth", "depth_info", "depth_mm", "points"})
NEEDS_CAMERA = NEEDS_METRES
"""A metre is not earned with a camera that nobody knows."""
FROM_NETWORK = frozenset(OUTPUTS) - {"depth_info"}


@dataclasses.dataclass(frozen=True)
class CameraTopics:
    """Relative names of a camera's topics, before remapping.

    Args:
        name: what the camera is called in diagnostics.
        image: Image; with compressed transport CompressedImage on `image`/compressed.
        camera_info: CameraInfo.
        output_prefix: what stands before the names in `OUTPUTS`.
    """

    name: str = "camera"
    image: str = "image_rect"
    camera_info: str = "camera_info"
    output_prefix: str = "~/"
